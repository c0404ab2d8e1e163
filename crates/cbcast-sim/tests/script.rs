//! Scripted runs: the classic exercises, links in order, partitions, all judged by the recorded events.

use std::collections::BTreeSet;
use std::time::Duration;

use cbcast::{MemberId, MessageId};
use cbcast_sim::sim::{
    self, Faults, Plan, Report, Script, ScriptedCut, SlowLink, Topology, TraceEvent, TraceKind, anomalies,
    as_it_arrives,
};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn message(ordinal: u32, seq: u64) -> MessageId {
    MessageId::new(MemberId::new(0, ordinal), seq)
}

/// Three members and a delay of 100 ms.
fn plan(seed: u64) -> Plan {
    let faults = Faults { delay_min: ms(100), delay_max: ms(100), ..Faults::default() };
    Plan { seed, members: 3, messages: 40, topology: Topology::Mesh, faults }
}

/// The run goes well, and the oracle finds nothing in its trace.
fn run(plan: &Plan, script: &Script) -> (Vec<TraceEvent>, Report) {
    let mut trace = Vec::new();
    let report = sim::run_scripted(plan, script, |event| trace.push(event))
        .unwrap_or_else(|failure| panic!("{failure}"));
    sim::judge(&trace).unwrap();
    (trace, report)
}

/// Returns who holds which message, and for which.
fn holds(trace: &[TraceEvent]) -> Vec<(u32, MessageId, MessageId)> {
    let hold = |event: &TraceEvent| match event.what {
        TraceKind::Hold { message, waits_for, .. } => Some((event.process.ordinal, message, waits_for)),
        _ => None,
    };
    trace.iter().filter_map(hold).collect()
}

#[test]
fn nothing_that_is_concurrent_is_held() {
    let says = vec![(ms(0), 1), (ms(10), 2), (ms(20), 3)];
    let (trace, report) = run(&plan(1), &Script { says, ..Script::default() });
    assert_eq!((report.messages, report.deliveries, report.held), (3, 6, 0));
    assert_eq!(holds(&trace), []);
    assert_eq!(anomalies(&trace), []);
    assert_eq!(as_it_arrives(&trace), trace);
}

#[test]
fn an_answer_that_overtakes_the_question_is_held() {
    let says = vec![(ms(0), 1), (ms(200), 2)];
    let slow = vec![SlowLink { during: ms(0)..ms(60_000), from: 1, to: 3, delay: ms(900) }];
    let (trace, report) = run(&plan(1), &Script { says, slow, ..Script::default() });
    assert_eq!((report.messages, report.deliveries), (2, 4));
    assert_eq!(holds(&trace), [(3, message(2, 1), message(1, 1))]);
    let found = anomalies(&trace);
    let arrivals = as_it_arrives(&trace);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].1, BTreeSet::from([message(1, 1)]));
    assert_eq!(arrivals[found[0].0].process, MemberId::new(0, 3));
    // The oracle agrees that this is none.
    assert!(sim::judge(&arrivals).is_err());
}

#[test]
fn what_overtakes_its_own_author_is_held() {
    let says = vec![(ms(0), 1), (ms(100), 1)];
    let slow = vec![SlowLink { during: ms(0)..ms(50), from: 1, to: 3, delay: ms(900) }];
    let (trace, _) = run(&plan(1), &Script { says, slow, ..Script::default() });
    assert_eq!(holds(&trace), [(3, message(1, 2), message(1, 1))]);
    assert_eq!(anomalies(&trace).len(), 1);
}

#[test]
fn what_a_partition_stops_comes_when_it_has_ended() {
    let says = vec![(ms(100), 1), (ms(200), 2)];
    let during = ms(50)..ms(5_000);
    let cuts = vec![ScriptedCut { during: during.clone(), members: BTreeSet::from([3]) }];
    let (trace, report) = run(&plan(1), &Script { says, cuts, ..Script::default() });
    assert!(report.cut_off > 0);
    let mut count = 0;
    for event in trace.iter().filter(|event| matches!(event.what, TraceKind::Deliver { .. })) {
        let at = Duration::from_nanos(event.at.as_nanos());
        assert_eq!(event.process.ordinal == 3, at >= during.end, "{event:?}");
        count += 1;
    }
    assert_eq!(count, 4);
}

/// Counts of each sender's messages that arrived somewhere before an earlier one. None, if links keep their order and
/// lose nothing.
#[test]
fn links_keep_their_order_unless_packets_may_overtake() {
    let overtaken = |overtaking| {
        let mut sum = 0;
        for seed in 0..20 {
            let mut plan = plan(seed);
            plan.faults.delay_min = ms(1);
            plan.faults.delay_max = ms(400);
            let (trace, _) = run(&plan, &Script { overtaking, ..Script::default() });
            let arrivals = as_it_arrives(&trace);
            let overtook = |(place, missing): &(usize, BTreeSet<MessageId>)| match arrivals[*place].what {
                TraceKind::Deliver { message, .. } => {
                    missing.iter().any(|other| other.member == message.member)
                }
                _ => false,
            };
            sum += anomalies(&trace).iter().filter(|found| overtook(found)).count();
        }
        sum
    };
    assert_eq!(overtaken(0), 0);
    let (some, all) = (overtaken(2_000), overtaken(10_000));
    assert!(0 < some && some < all, "{some} {all}");
}

#[test]
fn a_script_replays_and_loses_nothing_in_bad_weather() {
    let mut held = 0;
    for seed in 0..40 {
        let mut plan = Plan { members: 2 + seed as u32 % 6, ..plan(seed) };
        plan.faults = Faults { delay_max: ms(800), loss: 2_000, duplicates: 1_000, ..plan.faults };
        let cut = ScriptedCut { during: ms(100)..ms(700), members: BTreeSet::from([1]) };
        let script = Script { pace: ms(10), cuts: vec![cut], overtaking: 5_000, ..Script::default() };
        let (trace, report) = run(&plan, &script);
        assert_eq!(report.deliveries, report.messages * u64::from(plan.members - 1));
        assert_eq!(run(&plan, &script).0, trace, "seed {seed}");
        // What is delivered against its past as it arrives is just what is held.
        assert_eq!(anomalies(&trace).len(), holds(&trace).len(), "seed {seed}");
        held += report.held;
    }
    assert!(held > 100, "{held}");
}
