//! Answers to the DNS queries of an agent. Nothing is looked up: an allowed name gets an address
//! that stands for it, any other name does not exist.

use hickory_proto::op::{Message, OpCode, Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType, rdata};

use super::fake_addresses::FakeAddresses;
use super::policy::{Denial, DnsName, EgressPolicy, HostError, Reason};

/// The most bytes of a query. With every option that is in use it has a few hundred.
pub const MAX_QUERY: usize = 4096;

/// How long an answer may be kept, in seconds. The address may stand for another name later.
const TTL: u32 = 1;

/// What a query leads to.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is sent back; `None` for what is no query at all.
    pub bytes: Option<Vec<u8>>,
    /// The denial, if the name does not exist because the policy says so.
    pub denial: Option<Denial>,
}

impl Reply {
    fn of(message: &Message, denial: Option<Denial>) -> Self {
        let bytes = message.to_vec().ok();
        Self { bytes, denial }
    }
}

/// Answers one query. Without `names` no name has an address: the proxy is asked by name.
#[must_use]
pub fn answer(query: &[u8], policy: &EgressPolicy, names: Option<&mut FakeAddresses>) -> Reply {
    if query.len() > MAX_QUERY || query.len() < 12 || query[2] & 0x80 != 0 {
        let (bytes, denial) = (None, None);
        return Reply { bytes, denial };
    }
    let Ok(message) = Message::from_vec(query) else {
        let id = u16::from_be_bytes([query[0], query[1]]);
        let error = Message::error_msg(id, OpCode::Query, ResponseCode::FormErr);
        return Reply::of(&error, None);
    };
    let mut reply = Message::response(message.metadata.id, message.metadata.op_code);
    reply.metadata.recursion_desired = message.metadata.recursion_desired;
    reply.metadata.recursion_available = true;
    let [question] = message.queries.as_slice() else {
        reply.metadata.response_code = ResponseCode::FormErr;
        return Reply::of(&reply, None);
    };
    reply.add_query(question.clone());
    if message.metadata.op_code != OpCode::Query || question.query_class != DNSClass::IN {
        reply.metadata.response_code = ResponseCode::NotImp;
        return Reply::of(&reply, None);
    }
    let Some(names) = names else {
        let denial = allowed_name(question, policy).map_or_else(
            |denial| denial,
            |name| policy.denial(name.to_string(), 443, Reason::NotThroughProxy),
        );
        reply.metadata.response_code = ResponseCode::NXDomain;
        return Reply::of(&reply, Some(denial));
    };
    match allowed_name(question, policy) {
        Ok(name) if question.query_type == RecordType::A => {
            let address = rdata::A(names.address_of(&name));
            let record = Record::from_rdata(question.name.clone(), TTL, RData::A(address));
            reply.add_answer(record);
            Reply::of(&reply, None)
        }
        // A name without an address of another kind: a client falls back to the one it has.
        Ok(_) => Reply::of(&reply, None),
        // Refusing instead makes clients ask four times and call it a temporary failure.
        Err(denial) => {
            reply.metadata.response_code = ResponseCode::NXDomain;
            Reply::of(&reply, Some(denial))
        }
    }
}

fn allowed_name(question: &Query, policy: &EgressPolicy) -> Result<DnsName, Denial> {
    let name = read(&question.name).map_err(|error| {
        let shown = question.name.to_ascii();
        policy.denial(shown, 443, Reason::BadHost(error))
    })?;
    policy.judge_name(&name)?;
    Ok(name)
}

/// Reads the labels as they are: a dot inside of a label must not become two labels.
fn read(name: &Name) -> Result<DnsName, HostError> {
    let mut text = String::new();
    for label in name {
        if let Some((at, byte)) = label.iter().enumerate().find(|(_, b)| !may_stand(**b)) {
            let character = char::from(*byte);
            let at = text.len() + at;
            return Err(HostError::Character { at, character });
        }
        text.extend(label.iter().map(|byte| char::from(*byte)));
        text.push('.');
    }
    DnsName::parse(&text)
}

fn may_stand(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use hickory_proto::op::MessageType;

    use super::super::policy::{EgressRules, Line, Source};
    use super::*;

    fn policy() -> EgressPolicy {
        let line = |text: &str| Line {
            source: Source::new("allowed_network"),
            text: text.to_owned(),
        };
        EgressPolicy::new(&EgressRules {
            place: "sandbox".to_owned(),
            allowed: vec![line("*.example.com"), line("*.internal")],
            ..EgressRules::default()
        })
        .expect("rules")
    }

    fn names() -> FakeAddresses {
        FakeAddresses::new("127.64.0.0/16".parse().expect("a network"))
    }

    fn asked(name: &str, kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(77, MessageType::Query, OpCode::Query);
        let name = Name::from_ascii(name).expect("a name");
        message.add_query(Query::query(name, kind));
        message.to_vec().expect("bytes")
    }

    fn replied(query: &[u8], names: &mut FakeAddresses) -> (ResponseCode, Vec<IpAddr>) {
        let reply = answer(query, &policy(), Some(names))
            .bytes
            .expect("an answer");
        let message = Message::from_vec(&reply).expect("a message");
        assert_eq!(message.metadata.message_type, MessageType::Response);
        assert_eq!(message.metadata.id, 77);
        let addresses = message.answers.iter().map(|record| {
            assert_eq!(record.ttl, TTL);
            record.data.ip_addr().expect("an address")
        });
        let addresses = addresses.collect();
        (message.metadata.response_code, addresses)
    }

    #[test]
    fn an_allowed_name_gets_an_address_that_stands_for_it() {
        let mut names = names();
        let first = "127.64.0.1".parse().expect("an address");
        for spelling in ["a.example.com.", "A.Example.com."] {
            let reply = replied(&asked(spelling, RecordType::A), &mut names);
            assert_eq!(reply, (ResponseCode::NoError, vec![first]));
        }
        assert_eq!(
            names.name_of(first).map(DnsName::as_str),
            Some("a.example.com")
        );
        for kind in [
            RecordType::AAAA,
            RecordType::TXT,
            RecordType::HTTPS,
            RecordType::ANY,
        ] {
            let reply = replied(&asked("a.example.com.", kind), &mut names);
            assert_eq!(reply, (ResponseCode::NoError, vec![]), "{kind}");
        }
    }

    #[test]
    fn any_other_name_does_not_exist() {
        let mut names = names();
        for name in [
            "example.com.",
            "secret.data.evil.example.",
            "metadata.google.internal.",
            "1.0.0.127.in-addr.arpa.",
            "127.0.0.1.",
            ".",
        ] {
            let reply = replied(&asked(name, RecordType::A), &mut names);
            assert_eq!(reply, (ResponseCode::NXDomain, vec![]), "{name}");
            assert!(
                answer(&asked(name, RecordType::A), &policy(), Some(&mut names))
                    .denial
                    .is_some()
            );
        }
    }

    #[test]
    fn no_name_exists_where_the_proxy_is_the_only_way() {
        for (name, reason) in [
            ("a.example.com.", Reason::NotThroughProxy),
            ("evil.example.", Reason::NotListed),
        ] {
            for kind in [RecordType::A, RecordType::AAAA] {
                let reply = answer(&asked(name, kind), &policy(), None);
                let message = Message::from_vec(&reply.bytes.expect("an answer")).expect("one");
                assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
                assert!(message.answers.is_empty());
                assert_eq!(reply.denial.expect("a denial").reason, reason);
            }
        }
    }

    #[test]
    fn a_dot_inside_of_a_label_is_not_a_dot() {
        let mut query = asked("evilXexample.com.", RecordType::A);
        let at = query
            .iter()
            .position(|byte| *byte == b'X')
            .expect("the letter");
        query[at] = b'.';
        let reply = answer(&query, &policy(), Some(&mut names()));
        let denial = reply.denial.expect("a denial");
        let error = HostError::Character {
            at: 4,
            character: '.',
        };
        assert_eq!(denial.reason, Reason::BadHost(error));
    }

    #[test]
    fn what_is_no_plain_question_is_said_to_be_none() {
        let mut names = names();
        let mut two = Message::new(77, MessageType::Query, OpCode::Query);
        for _ in 0..2 {
            let name = Name::from_ascii("a.example.com.").expect("a name");
            two.add_query(Query::query(name, RecordType::A));
        }
        let two = two.to_vec().expect("bytes");
        assert_eq!(replied(&two, &mut names), (ResponseCode::FormErr, vec![]));
        let mut cut = asked("a.example.com.", RecordType::A);
        cut.truncate(14);
        assert_eq!(replied(&cut, &mut names), (ResponseCode::FormErr, vec![]));
        let update = Message::new(77, MessageType::Query, OpCode::Update);
        assert_eq!(
            replied(&update.to_vec().expect("bytes"), &mut names),
            (ResponseCode::FormErr, vec![])
        );
        let mut status = asked("a.example.com.", RecordType::A);
        status[2] |= 2 << 3;
        assert_eq!(replied(&status, &mut names), (ResponseCode::NotImp, vec![]));
        let mut response = asked("a.example.com.", RecordType::A);
        response[2] |= 0x80;
        for silent in [response, vec![0; 5], vec![0; MAX_QUERY + 1]] {
            assert_eq!(answer(&silent, &policy(), Some(&mut names)).bytes, None);
        }
    }
}
