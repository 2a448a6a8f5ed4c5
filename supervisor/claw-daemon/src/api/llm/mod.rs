//! Models, and the money of calls to them.

mod budget;
mod call;
mod money;
mod price;
mod usage;

pub use budget::{
    LlmAlert, LlmBudgets, LlmPeriod, LlmReconcile, LlmReconciled, LlmScope, LlmWindow,
    LlmWindowName,
};
pub use call::{LlmCall, LlmCallList};
pub use money::Usd;
pub use price::{LlmPrice, LlmPriceList, LlmPriceOrigin, LlmPricing, LlmRates};
pub use usage::{LlmTokens, LlmUsage, LlmUsageBy, LlmUsageList};
