//! The black-box tests live in `tests/suite`, as one integration binary.
