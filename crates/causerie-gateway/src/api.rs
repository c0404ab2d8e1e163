//! The JSON that browsers and bots speak with a server: what they send, read and checked, and what they are told.
//! `docs/api.md` describes it.

mod error;
mod event;
mod request;
mod text;

pub use self::error::ApiError;
pub use self::event::{
    ListedMember, Problem, SaidReceipt, ServerEvent, WelcomeEvent, entry, gap_event, record_event, to_json,
    with_members,
};
pub use self::request::{ClientEvent, CreateRoom, Join, Say, id_of_unread, read};
pub use self::text::{read_token, rfc3339, token};

#[cfg(test)]
mod tests {
    use cbcast::{MemberId, MessageId};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use causerie_core::content::body::Body;
    use causerie_core::id::{ClientId, Position, Token};
    use causerie_core::log::page::{HistoryRecord, Standing, What};

    use super::*;

    fn say(value: Value) -> Result<(ClientId, Body), ApiError> {
        read::<Say>(value.to_string().as_bytes())?.body()
    }

    #[test]
    fn each_kind_has_its_fields_and_no_others() {
        let id = MessageId::new(MemberId::new(0, 7), 90);
        let text = String::from("x");
        for (body, fields) in [
            (Body::Text(text.clone()), json!({"text": "x"})),
            (Body::Action(text.clone()), json!({"kind": "action", "text": "x"})),
            (Body::Notice(text.clone()), json!({"kind": "notice", "text": "x"})),
            (
                Body::Reply { to: id, text: text.clone() },
                json!({"kind": "reply", "to": "0.7#90", "text": "x"}),
            ),
            (Body::Edit { of: id, text: text.clone() }, json!({"kind": "edit", "of": "0.7#90", "text": "x"})),
            (Body::Delete { of: id, reason: String::new() }, json!({"kind": "delete", "of": "0.7#90"})),
            (
                Body::Delete { of: id, reason: text.clone() },
                json!({"kind": "delete", "of": "0.7#90", "reason": "x"}),
            ),
            (
                Body::Reaction { to: id, symbol: text.clone(), set: false },
                json!({"kind": "reaction", "to": "0.7#90", "symbol": "x", "set": false}),
            ),
            (Body::Topic(text), json!({"kind": "topic", "text": "x"})),
        ] {
            let mut object = fields.clone();
            object["id"] = "a-1".into();
            assert_eq!(say(object.clone()).unwrap(), ("a-1".parse().unwrap(), body));
            for field in ["text", "to", "of", "symbol", "set"] {
                let mut other = object.clone();
                let had = other.as_object_mut().unwrap().remove(field).is_some();
                if had {
                    assert_eq!(say(other).is_err(), field != "set", "{object} without {field}");
                } else {
                    other[field] = if field == "set" { true.into() } else { "0.7#90".into() };
                    assert!(matches!(say(other), Err(ApiError::Superfluous { .. })), "{object} with {field}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (value, told) in [
            (json!({"id": "a", "kind": "shout", "text": "x"}), "no kind 'shout'"),
            (json!({"id": "a"}), "has a field 'text'"),
            (json!({"id": "", "text": "x"}), "1 to 64 characters"),
            (json!({"id": "a b", "text": "x"}), "visible ASCII"),
            (json!({"id": "a", "kind": "delete", "of": "0.7#090"}), "'0.7#090' is not the id"),
            (json!({"text": "x"}), "missing field `id`"),
            (json!({"id": "a", "text": "x", "color": 1}), "unknown field `color`"),
            (json!([]), "invalid length 0"),
        ] {
            let error = say(value.clone()).unwrap_err().to_string();
            assert!(error.contains(told), "{value}: {error}");
        }
        for strange in
            ["", "{", "[[[[", "{\"type\":\"fly\"}", "{\"type\":\"ping\",\"x\":1}", "{\"type\":\"say\"}"]
        {
            assert!(read::<ClientEvent>(strange.as_bytes()).is_err(), "{strange}");
        }
        let deep = "[".repeat(100_000);
        assert!(read::<ClientEvent>(deep.as_bytes()).is_err());
    }

    #[test]
    fn what_cannot_be_read_has_its_id_all_the_same() {
        for (text, id) in [
            // Half of a character, as cut text has it.
            (r#"{"type":"say","id":"a1","text":"\ud83d x"}"#, Some("a1")),
            (r#"{"type":"say","text":"\ud83d","id":"a2"}"#, Some("a2")),
            (r#"{"type":"say","id":"a3","text":7,"color":{"x":[1]}}"#, Some("a3")),
            (r#"{"type":"say","id":"a4","text":"cut of"#, Some("a4")),
            (r#"{"type":"say","id":"a5","id2":"x"} and more"#, Some("a5")),
            (r#"{"type":"say","text":"cut of"#, None),
            (r#"{"nested":{"id":"x"}}"#, None),
            (r#"{"id":7}"#, None),
            (r#"{"id":"not an id"}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert!(read::<ClientEvent>(text.as_bytes()).is_err(), "{text}");
            assert_eq!(id_of_unread(text.as_bytes()).as_deref(), id, "{text}");
        }
        assert_eq!(id_of_unread(b"{\"id\":\"b\",\"text\":\"\xff\"}").as_deref(), Some("b"));
        assert_eq!(id_of_unread("{\"a\":[".repeat(100_000).as_bytes()), None);
    }

    #[test]
    fn events_are_named_by_their_type() {
        let read = |text: &str| read::<ClientEvent>(text.as_bytes()).unwrap();
        assert_eq!(
            read(r#"{"type":"join","name":"Ann"}"#),
            ClientEvent::Join { name: "Ann".into(), nonce: None, held: false, observed: false, batch: false }
        );
        assert_eq!(
            read(r#"{"type":"resume","token":"t","after":3,"held":true}"#),
            ClientEvent::Resume {
                token: "t".into(),
                after: Some(Position::new(3)),
                held: true,
                observed: false,
                batch: false
            }
        );
        assert!(matches!(read(r#"{"type":"say","id":"1","text":"x"}"#), ClientEvent::Say(_)));
        assert_eq!(read(r#"{"type":"ping"}"#), ClientEvent::Ping {});
        assert_eq!(ServerEvent::ShuttingDown {}.to_json(), r#"{"type":"shutting_down"}"#);
        let error = ServerEvent::Error(Problem::new("malformed", "no"));
        assert_eq!(error.to_json(), r#"{"type":"error","code":"malformed","message":"no"}"#);
    }

    #[test]
    fn whoever_prints_events_sees_no_secrets() {
        let secret = "00112233445566778899aabbccddeeff";
        let member = MemberId::new(0, 7);
        let token = token(member, &secret.parse().unwrap());
        assert_eq!(token.reveal(), format!("0.7.{secret}"));
        let welcome = WelcomeEvent {
            room: "lobby".into(),
            epoch: "1".into(),
            member: member.to_string(),
            token,
            position: Position::START,
            bytes_max: 1,
        };
        let welcome = ServerEvent::Welcome(welcome);
        assert!(welcome.to_json().contains(secret), "who is welcomed is told");
        let read = |text: String| read::<ClientEvent>(text.as_bytes()).unwrap();
        let resume = read(format!(r#"{{"type":"resume","token":"0.7.{secret}"}}"#));
        let join = read(format!(r#"{{"type":"join","name":"Ann","nonce":"{secret}"}}"#));
        for printed in [format!("{welcome:?}"), format!("{resume:?}"), format!("{join:?}")] {
            assert!(printed.contains("SecretText(..)") && !printed.contains(&secret[..4]), "{printed}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_written_in_one_way(origin: u32, ordinal: u32, bytes: [u8; 16]) {
            let member = MemberId::new(origin, ordinal);
            let secret = Token::new(bytes);
            prop_assert_eq!(read_token(token(member, &secret).reveal()), Some((member, secret)));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[0-9.#a-f+ -]{0,40}") {
            let _ = read_token(&text);
            let _ = read::<ClientEvent>(text.as_bytes());
        }

        #[test]
        fn whatever_is_said_is_an_object_with_that_in_it(text: String, name: String, position: u64, time_millis: u64) {
            let id = MessageId::new(MemberId::new(0, 7), 90);
            let what = What::Said(Body::Reply { to: id, text: text.clone() });
            let record = HistoryRecord { position: Position::new(position), time_millis, id, deps: vec![id], member: id.member, name: name.clone(), what, standing: Standing::AsSaid };
            let value: Value = serde_json::from_str(&record_event(&record)).unwrap();
            prop_assert_eq!(&value["text"], &Value::from(text));
            prop_assert_eq!(&value["author"], &Value::from(name));
            prop_assert_eq!(&value["type"], &Value::from("message"));
            prop_assert_eq!(&value["position"], &Value::from(position));
        }
    }
}
