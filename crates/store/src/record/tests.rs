//! Records come back as they were written, and no bytes make the reader panic.

use std::sync::Arc;

use hie_journal::Position;
use proptest::prelude::*;

use super::*;
use crate::{
    BodyRef, Content, ItemId, LegBody, Live, MessageId, NewBody, NewLeg, NewMessage, Priority,
    SessionId, State, Step,
};

fn names() -> Vec<Arc<str>> {
    ["", "ADT in", "Router", "EPR out"].map(Arc::from).to_vec()
}

fn bytes_of(record: &impl Encode) -> Vec<u8> {
    let mut bytes = vec![0; record.encoded_len()];
    record.fill(&mut bytes);
    bytes
}

fn leg<'a>(target: u16, body: LegBody<'a>) -> NewLeg<'a> {
    let (priority, state) = (Priority::High, State::Queued);
    NewLeg {
        target: ItemId(target),
        priority,
        state,
        reason: "",
        body,
    }
}

fn live() -> Live {
    Live {
        hops: 300,
        id: MessageId(70_000),
        session: SessionId(69_999),
        body: BodyRef {
            position: Position(1 << 33),
            index: 0,
            len: 700,
        },
        created_ms: 1_750_000_000_000,
        source: ItemId(1),
        target: ItemId(2),
        attempts: 3,
        priority: Priority::Normal,
        state: State::Queued,
        content: Content::Hl7v2,
        possible_duplicate: true,
    }
}

#[test]
fn a_message_comes_back_whole() {
    let names = names();
    let legs = [
        leg(2, LegBody::Same),
        leg(3, LegBody::New(b"other")),
        NewLeg {
            state: State::Error,
            reason: "no segment MSH",
            ..leg(0, LegBody::Same)
        },
    ];
    let message = NewMessage {
        time_ms: 1_750_000_000_000,
        source: ItemId(1),
        origin: "127.0.0.1:50000",
        content: Content::Hl7v2,
        body: NewBody::Bytes(b"MSH|^~\\&|"),
        resent_from: Some(MessageId(5)),
        legs: &legs,
    };
    let bytes = bytes_of(&AcceptOut {
        message: &message,
        names: &names,
        first_id: 9,
    });
    let here = Position(64);
    let Record::Accept(read) = decode(here, &bytes).unwrap() else {
        panic!("another kind")
    };
    assert_eq!(
        (read.time_ms, read.source, read.origin),
        (message.time_ms, "ADT in", message.origin)
    );
    assert_eq!(
        (read.content, read.resent_from),
        (Content::Hl7v2, Some(MessageId(5)))
    );
    assert_eq!(read.bytes, Some(&b"MSH|^~\\&|"[..]));
    assert_eq!(
        read.body,
        BodyRef {
            position: here,
            index: 0,
            len: 9
        }
    );
    let ids: Vec<_> = read.legs.iter().map(|leg| leg.id.0).collect();
    assert_eq!(ids, [9, 10, 11]);
    assert_eq!(read.legs[0].body, read.body);
    assert_eq!(
        read.legs[1].body,
        BodyRef {
            position: here,
            index: 1,
            len: 5
        }
    );
    assert_eq!(read.legs[1].own, Some(&b"other"[..]));
    assert_eq!(
        (read.legs[2].target, read.legs[2].reason),
        ("", "no segment MSH")
    );
    assert_eq!(
        (read.legs[2].state, read.legs[2].priority),
        (State::Error, Priority::High)
    );
    assert_eq!(&bytes[body_range(&bytes, 1).unwrap()], b"other");
    assert_eq!(&bytes[body_range(&bytes, 0).unwrap()], b"MSH|^~\\&|");
    assert!(body_range(&bytes, 2).is_err());
}

#[test]
fn a_step_comes_back_whole() {
    let (names, header) = (names(), live());
    let legs = [leg(3, LegBody::New(b"changed")), leg(3, LegBody::Same)];
    let step = Step {
        answered: crate::Answered::Late,
        time_ms: 1_750_000_000_001,
        header: &header,
        state: State::Completed,
        attempts: 4,
        reason: "",
        note: "rule 1 of ADT",
        reply: Some(b"MSA|AA"),
        legs: &legs,
    };
    let bytes = bytes_of(&StepOut {
        step: &step,
        body: header.body,
        names: &names,
        first_id: 70_001,
    });
    let here = Position(1 << 34);
    let Record::Step(read) = decode(here, &bytes).unwrap() else {
        panic!("another kind")
    };
    assert_eq!((read.id, read.session), (header.id, header.session));
    assert_eq!(
        (read.state, read.attempts, read.possible_duplicate),
        (State::Completed, 4, true)
    );
    assert_eq!((read.note, read.source), ("rule 1 of ADT", "Router"));
    assert_eq!(
        read.reply,
        Some(BodyRef {
            position: here,
            index: 0,
            len: 6
        })
    );
    assert_eq!(
        read.legs[0].body,
        BodyRef {
            position: here,
            index: 1,
            len: 7
        }
    );
    assert_eq!(read.legs[1].body, header.body);
    assert_eq!(read.legs[1].id, MessageId(70_002));
    assert_eq!((read.answered, read.hops), (crate::Answered::Late, 301));
}

#[test]
fn the_other_kinds_come_back() {
    let (names, header) = (names(), live());
    let old = BodyRef {
        position: Position(64),
        index: 2,
        len: 4,
    };
    let moved = MovedOut {
        time_ms: 1,
        old,
        live: &[header],
        names: &names,
        body: b"body",
    };
    let bytes = bytes_of(&moved);
    let Record::Moved(read) = decode(Position(99), &bytes).unwrap() else {
        panic!("another kind")
    };
    assert_eq!(
        (read.old, read.new.position, read.live.len()),
        (old, Position(99), 1)
    );
    assert!(read.live[0].possible_duplicate && read.live[0].target == "Router");
    assert_eq!(read.live[0].hops, 300);

    let bytes = bytes_of(&StartedOut {
        time_ms: 7,
        next_id: 1 << 40,
    });
    assert!(matches!(decode(Position(1), &bytes), Ok(Record::Started(s)) if s.next_id == 1 << 40));

    let items = ["ADT in".to_owned()];
    let purged = PurgedOut {
        time_ms: 1,
        before_ms: 2,
        whole_sessions: true,
        items: &items,
    };
    let bytes = bytes_of(&purged);
    let Record::Purged(read) = decode(Position(1), &bytes).unwrap() else {
        panic!("another kind")
    };
    assert_eq!(
        (read.before_ms, read.whole_sessions, read.items),
        (2, true, vec!["ADT in"])
    );
}

#[test]
fn a_small_message_costs_little_beside_its_body() {
    let (names, body) = (names(), [b'x'; 700]);
    let legs = [leg(2, LegBody::Same)];
    let message = NewMessage {
        time_ms: 1_750_000_000_000,
        source: ItemId(1),
        origin: "10.20.30.40:51234",
        content: Content::Hl7v2,
        body: NewBody::Bytes(&body),
        resent_from: None,
        legs: &legs,
    };
    let len = AcceptOut {
        message: &message,
        names: &names,
        first_id: 1 << 40,
    }
    .encoded_len();
    assert!(len < 780, "{len} bytes of log for a body of 700");
}

#[test]
fn what_is_unknown_is_refused() {
    let good = bytes_of(&StartedOut {
        time_ms: 7,
        next_id: 1,
    });
    for (at, value) in [(0, 0), (0, 77), (1, 2), (2, 9)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(decode(Position(1), &bad).is_err(), "byte {at} = {value}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(decode(Position(1), &longer).is_err());
    assert!(decode(Position(1), &[]).is_err());
}

#[test]
fn a_step_of_a_version_that_knew_no_hops_is_read() {
    let old = [
        &[2, 1, 0, 1, 7, 7, 9, 0, 0, 0, 0, 1][..],
        &8u64.to_le_bytes(),
        b"\x01R\x00\x01\x00\x05",
        b"\x01T\x22\x00\x00",
    ]
    .concat();
    let Record::Step(read) = decode(Position(1), &old).unwrap() else {
        panic!("another kind")
    };
    assert_eq!((read.hops, read.answered), (0, crate::Answered::Nobody));
    assert_eq!((read.source, read.legs[0].target), ("R", "T"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in 0u8..7, rest in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = vec![kind, 1];
        bytes.extend(rest);
        let _ = decode(Position(1), &bytes);
        let _ = body_range(&bytes, 0);
    }

    #[test]
    fn no_change_of_a_good_record_makes_it_panic(at in 0usize..200, value: u8, cut in 0usize..200) {
        let (names, header) = (names(), live());
        let legs = [leg(3, LegBody::New(b"changed")), leg(3, LegBody::Same)];
        let step = Step { answered: crate::Answered::Nobody,
            time_ms: 1, header: &header, state: State::Error, attempts: 4, reason: "AR",
            note: "rule", reply: Some(b"MSA"), legs: &legs,
        };
        let mut bytes = bytes_of(&StepOut { step: &step, body: header.body, names: &names, first_id: 1 });
        let at = at % bytes.len();
        bytes[at] = value;
        let _ = decode(Position(1), &bytes);
        bytes.truncate(cut);
        prop_assert!(cut >= bytes.len());
        let _ = decode(Position(1), &bytes);
    }
}
