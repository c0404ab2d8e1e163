//! The JSON API: whatever a client sends is an event or an error, and what is said of it is JSON again.
#![no_main]

use causerie_core::log::page::Standing;
use causerie_core::log::page::{Entry, HistoryRecord, What};
use causerie_gateway::api::{self, ClientEvent, CreateRoom, Join, Say};
use cbcast::MessageId;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let _ = api::read::<Join>(bytes);
    let _ = api::read::<CreateRoom>(bytes);
    let said = match api::read::<ClientEvent>(bytes) {
        Ok(ClientEvent::Say(say)) => Some(say),
        Ok(ClientEvent::Resume { token, .. }) => {
            if let Some((member, secret)) = api::read_token(token.reveal()) {
                assert_eq!(api::token(member, &secret).reveal(), token.reveal().to_ascii_lowercase());
            }
            None
        }
        _ => api::read::<Say>(bytes).ok(),
    };
    let Some(Ok((id, body))) = said.map(Say::body) else { return };
    assert!((1..=64).contains(&id.as_str().len()));
    let target = body.target();
    let text = body.text().map(str::to_owned);
    let id = target.unwrap_or(MessageId::new(cbcast::MemberId::new(0, 1), 1));
    let record = HistoryRecord {
        position: causerie_core::id::Position::FIRST,
        time_millis: u64::from(bytes.len() as u32),
        id,
        deps: vec![id],
        member: id.member,
        name: text.clone().unwrap_or_default(),
        what: What::Said(body),
        standing: Standing::default(),
    };
    let object: Value = serde_json::from_str(&api::entry(&Entry::Record(record.clone()))).expect("JSON");
    let event: Value = serde_json::from_str(&api::record_event(&record)).expect("JSON");
    assert_eq!(event["type"], "message");
    for value in [object, event] {
        assert_eq!(value["id"].as_str().and_then(|id| id.parse().ok()), Some(id));
        if let Some(text) = &text {
            assert_eq!(value["text"].as_str(), Some(&text[..]));
        }
        let shown = value.get("to").or(value.get("of")).and_then(Value::as_str);
        assert_eq!(shown.and_then(|id| id.parse().ok()), target);
    }
});
