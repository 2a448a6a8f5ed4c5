//! Each place, abused.

use super::abused;
use crate::escapes::{Place, User};

#[test]
fn a_sandbox_of_root_is_not_abused() {
    abused("a_sandbox_of_root_is_not_abused", Place::Full(User::Root));
}

#[test]
fn a_sandbox_of_an_ordinary_user_is_not_abused() {
    let test = "a_sandbox_of_an_ordinary_user_is_not_abused";
    abused(test, Place::Full(User::Ordinary));
}

#[test]
fn a_sandbox_of_root_without_namespaces_is_not_abused() {
    let test = "a_sandbox_of_root_without_namespaces_is_not_abused";
    abused(test, Place::Landlock(User::Root, 0));
}

#[test]
fn a_sandbox_of_an_ordinary_user_without_namespaces_is_not_abused() {
    let test = "a_sandbox_of_an_ordinary_user_without_namespaces_is_not_abused";
    abused(test, Place::Landlock(User::Ordinary, 0));
}

#[test]
fn a_container_is_not_abused() {
    abused("a_container_is_not_abused", Place::Container);
}
