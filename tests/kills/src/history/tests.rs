//! Each promise, broken.

use super::*;

const GROUP: GroupQueue = GroupQueue { group: "g", kind: Kind::Plain, queue: 0 };

fn id(kind: Kind, life: u32, number: u32) -> Id {
    Id { kind, life, lane: 0, number, queue: 0, not_before_ms: if kind == Kind::Late { 5_000 } else { 0 } }
}

fn found(id: Id, offset: u64) -> Found {
    Found { place: Place { kind: id.kind, queue: 0, offset }, id: Ok(id), store_ms: 5_000 }
}

/// A history in which ten messages of life 0 were sent, and this was learned.
fn history(events: Vec<Event>) -> Result<History, Violation> {
    let mut history = History::default();
    history.learn(0, vec![LaneReport { lane: 0, sent: 10, events, violation: None }])?;
    Ok(history)
}

#[test]
fn what_was_acknowledged_is_found_and_may_be_found_again() {
    let message = id(Kind::Plain, 0, 3);
    let mut history = history(vec![Event::Stored { id: message, offset: 1 }]).unwrap();
    for _ in 0..2 {
        assert_eq!(history.saw(&found(id(Kind::Plain, 0, 4), 0)), Ok(()));
        assert_eq!(history.saw(&found(message, 1)), Ok(()));
    }
    assert_eq!((history.end(Kind::Plain, 0), history.known_from(Kind::Plain, 0, 2)), (2, None));
}

#[test]
fn a_place_keeps_its_message_and_a_message_its_place() {
    let (first, second) = (id(Kind::Plain, 0, 1), id(Kind::Plain, 0, 2));
    let mut history = history(vec![Event::Stored { id: first, offset: 7 }]).unwrap();
    let place = Place { kind: Kind::Plain, queue: 0, offset: 7 };
    assert_eq!(history.saw(&found(second, 7)), Err(Violation::Changed { place, known: first, found: second }));
    let place = Place { offset: 8, ..place };
    assert_eq!(history.saw(&found(first, 8)), Err(Violation::Twice { id: first, first: 7, place }));
    let known = history.known_from(Kind::Plain, 0, 3).map(|(place, id)| (place.offset, id));
    assert_eq!(known, Some((7, first)));
}

#[test]
fn two_acknowledgements_of_one_offset_are_noticed() {
    let events = (1..3).map(|number| Event::Stored { id: id(Kind::Plain, 0, number), offset: 4 }).collect();
    assert!(matches!(history(events), Err(Violation::Changed { .. })));
}

#[test]
fn what_nobody_sent_is_noticed() {
    let mut history = history(vec![]).unwrap();
    assert!(matches!(history.saw(&found(id(Kind::Plain, 0, 10), 0)), Err(Violation::NeverSent { .. })));
    assert!(matches!(history.saw(&found(id(Kind::Plain, 1, 0), 0)), Err(Violation::NeverSent { .. })));
    let elsewhere = Found { place: Place { kind: Kind::Late, queue: 0, offset: 0 }, ..found(id(Kind::Plain, 0, 1), 0) };
    assert!(matches!(history.saw(&elsewhere), Err(Violation::NeverSent { .. })));
    let foreign = Found { id: Err("?".into()), ..elsewhere };
    assert!(matches!(history.saw(&foreign), Err(Violation::Foreign { .. })));
}

#[test]
fn a_message_of_a_dead_sender_does_not_come_up_later() {
    let mut history = history(vec![]).unwrap();
    history.saw(&found(id(Kind::Plain, 0, 0), 0)).unwrap();
    history.surveyed(0, BTreeMap::from([((Kind::Plain, 0), 1)])).unwrap();
    let came_back = history.saw(&found(id(Kind::Plain, 0, 1), 1));
    assert!(matches!(came_back, Err(Violation::CameBack { end: 1, .. })), "{came_back:?}");
}

#[test]
fn delayed_messages_come_neither_early_nor_never() {
    let message = id(Kind::Late, 0, 0);
    let mut history = history(vec![Event::Waiting { id: message }]).unwrap();
    assert_eq!(history.undelivered(), Some(message));
    let early = Found { store_ms: 4_999, ..found(message, 0) };
    assert!(matches!(history.saw(&early), Err(Violation::Early { early_ms: 1, .. })));
    history.saw(&found(message, 0)).unwrap();
    assert_eq!(history.undelivered(), None);
}

#[test]
fn only_committed_transactions_are_delivered_and_those_are() {
    let message = id(Kind::Paid, 0, 0);
    let half = Event::Half { id: message, half: HalfPlace { offset: 1, position: 2 } };
    let asked = |decision| Event::Asked { id: message, decision };
    let state = |events: &[Event]| match history(events.to_vec()).unwrap().saw(&found(message, 0)) {
        Err(Violation::NotCommitted { state, .. }) => state,
        other => panic!("{other:?}"),
    };
    assert_eq!(state(&[]), "never acknowledged");
    assert_eq!(state(std::slice::from_ref(&half)), "not decided");
    assert_eq!(state(&[half.clone(), asked(Decision::Rollback)]), "rolled back");
    let mut unanswered = history(vec![half.clone(), asked(Decision::Commit)]).unwrap();
    assert_eq!((unanswered.surveyed(0, BTreeMap::new()), unanswered.undecided().len()), (Ok(()), 1));
    let mut committed = history(vec![half, asked(Decision::Commit), Event::Decided { id: message }]).unwrap();
    assert_eq!(committed.surveyed(0, BTreeMap::new()), Err(Violation::CommitLost { id: message }));
    committed.saw(&found(message, 0)).unwrap();
    assert_eq!((committed.surveyed(0, BTreeMap::new()), committed.undecided().len()), (Ok(()), 0));
}

#[test]
fn group_offsets_stay_once_they_had_time_to_reach_the_disk() {
    let commit =
        |offset, at_ms| [Event::Committing { group: GROUP, offset }, Event::Committed { group: GROUP, offset, at_ms }];
    let events = [commit(5, 1_000), commit(9, 2_900)].concat();
    let check = |found, in_order| {
        let mut history = history(events.clone()).unwrap();
        history.ended(3_000, in_order);
        history.group_offset(GROUP, found)
    };
    let refused = |least| {
        let GroupQueue { group, kind, queue } = GROUP;
        move |found| Err(Violation::GroupOffset { group, kind, queue, found, least, most: 9 })
    };
    assert_eq!((check(5, false), check(9, false)), (Ok(()), Ok(())));
    assert_eq!((check(4, false), check(10, false)), (refused(5)(4), refused(5)(10)));
    assert_eq!((check(9, true), check(5, true)), (Ok(()), refused(9)(5)));
}

#[test]
fn a_group_offset_that_was_read_from_disk_does_not_move_back() {
    let mut history = history(vec![Event::Committing { group: GROUP, offset: 8 }]).unwrap();
    history.ended(0, false);
    assert_eq!(history.group_offset(GROUP, -1), Ok(()));
    assert_eq!(history.group_offset(GROUP, 8), Ok(()));
    assert!(matches!(history.group_offset(GROUP, 7), Err(Violation::GroupOffset { least: 8, .. })));
}
