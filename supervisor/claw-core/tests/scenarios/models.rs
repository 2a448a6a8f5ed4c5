//! What the gateway to models tells, as it stands in a script.

use claw_core::{CallFailure, CallId, Event, Fact, ModelCall, RequestHash};

use crate::script::span;
use crate::stage::Stage;

impl Stage {
    /// `None`: the line is about something else.
    pub(crate) fn of_models(&self, words: &[&str]) -> Option<Vec<Event>> {
        let fact = match *words {
            ["provider", provider, "down", left] => Fact::ProviderDown {
                provider: provider.to_owned(),
                until: self.now().wall + span(left),
            },
            ["provider", provider, "up"] => Fact::ProviderUp {
                provider: provider.to_owned(),
            },
            ["call", name, number, limit] => {
                let call = CallId(number.parse().unwrap());
                let limit = span(limit);
                self.calls(name, ModelCall::Began { call, limit })
            }
            ["more", name, number] => {
                let call = CallId(number.parse().unwrap());
                self.calls(name, ModelCall::Progressed { call })
            }
            ["over", name, number] => {
                let call = CallId(number.parse().unwrap());
                self.calls(name, ModelCall::Ended { call })
            }
            ["answered", name, provider] => {
                let provider = provider.to_owned();
                self.calls(name, ModelCall::Answered { provider })
            }
            ["unserved", name, provider] => {
                let provider = provider.to_owned();
                self.calls(name, ModelCall::ProviderOut { provider })
            }
            ["refused", name, request, times] => {
                let detail = "400 unknown parameter `max_token`".to_owned();
                let failure = CallFailure::Refused { detail };
                return Some(self.fails(name, (request, times), &failure));
            }
            ["broke", name, request, times, resets] => {
                let failure = CallFailure::OverBudget {
                    detail: "0.00 USD are left of the day's budget of 5 USD".to_owned(),
                    resets_at: Some(self.now().wall + span(resets)),
                };
                return Some(self.fails(name, (request, times), &failure));
            }
            _ => return None,
        };
        Some(vec![Event::Fact(fact)])
    }

    fn calls(&self, name: &str, call: ModelCall) -> Fact {
        let instance = self.newest(name);
        Fact::ModelCall { instance, call }
    }

    fn fails(
        &self,
        name: &str,
        (request, times): (&str, &str),
        failure: &CallFailure,
    ) -> Vec<Event> {
        let call = ModelCall::Failed {
            request: RequestHash([request.parse().unwrap(); 32]),
            failure: failure.clone(),
        };
        let fact = self.calls(name, call);
        vec![Event::Fact(fact); times.parse().unwrap()]
    }
}
