//! What configured hooks say of a message: reading, order, and what is said when they fail.

use bytes::Bytes;

use super::*;
use crate::{
    class::{Build, Class, Registry},
    config::parse,
    host::{GiveUp, Outcome, Verdict},
};

static OUT: Class = Class {
    name: "Out",
    aliases: &[],
    summary: "",
    settings: &[],
    build: Build::Operation(|_, _| unreachable!("only read")),
    check: |_, _| Vec::new(),
};

static CLASSES: &[&Class] = &[&OUT];
static REGISTRY: Registry = Registry::new(CLASSES);

/// The hooks of an operation, from what stands under `hooks:`.
fn hooks(yaml: &str) -> std::sync::Arc<Hooks> {
    let hooks = yaml.replace('\n', "\n      ");
    let file = format!(
        "production: {{name: T}}\nitems:\n  - name: A\n    class: Out\n    hooks:\n      {hooks}\n"
    );
    let config = parse(&file, "t.yaml", &REGISTRY, &|_| None);
    let config = config.unwrap_or_else(|errors| panic!("{errors:?}\n{file}"));
    config.items[0].hooks.clone().expect("hooks")
}

const ADT: &str = "MSH|^~\\&|PAS|ROYAL|||2026||ADT^A01|1|P|2.4\rPID|1||4001^^^R||O\\T\\B^Ann\r";

fn adt() -> Bytes {
    Bytes::from_static(ADT.as_bytes())
}

#[test]
fn entries_act_in_their_order_and_see_what_those_before_them_changed() {
    let hooks = hooks(
        "on_before_process:\n\
         - {when: 'MSH-9.1 = \"ADT\"', set: {PID-3.4: NHS}, tag: adt}\n\
         - {when: 'PID-3.4 = \"NHS\"', set: {ZHI-1: '{PID-3.4} from {Source}'}}\n\
         - {when: 'PID-3.4 = \"R\"', tag: never}\n\
         - {set: {PID-3.4: NHS}}",
    );
    let judged = hooks.before(&adt(), "PAS-In");
    let expected = ADT.replace("4001^^^R", "4001^^^NHS") + "ZHI|NHS from PAS-In\r";
    assert_eq!(judged.body.as_deref(), Some(expected.as_bytes()));
    assert_eq!(judged.end, None);
    assert_eq!(
        judged.note,
        "on_before_process: tag adt; on_before_process: PID-3.4 set; on_before_process: ZHI-1 set",
        "one that changes nothing says nothing"
    );
}

#[test]
fn a_rejection_ends_it_and_the_tags_so_far_are_kept() {
    let hooks = hooks(
        "on_before_process:\n\
         - {tag: seen}\n\
         - {when: 'not Exists(PID-18)', reject: no account number}\n\
         - {tag: never}",
    );
    let judged = hooks.before(&adt(), "In");
    let end = judged.end.expect("an end");
    assert_eq!(end, "rejected by on_before_process: no account number");
    assert_eq!(rejection(&end), Some("no account number"));
    assert_eq!(rejection("failed otherwise"), None);
    let later = "rejected: a wrong check digit"; // by a host, in the middle of its work
    assert_eq!(rejection(later), Some("a wrong check digit"));
    assert_eq!(judged.note, "on_before_process: tag seen");
    assert_eq!(judged.body, None);
}

#[test]
fn what_cannot_be_changed_fails_and_leaves_the_bytes() {
    let hooks = hooks("on_before_process:\n- {set: {PID-8: F}}\n- {set: {PV1-2: I}}");
    let judged = hooks.before(&adt(), "In");
    let end = judged.end.expect("an end");
    assert!(end.starts_with("on_before_process failed: PV1-2"), "{end}");
    assert_eq!(judged.body, None, "not half of the changes");
    let judged = hooks.before(&Bytes::from_static(b"no HL7"), "In");
    assert!(judged.end.expect("an end").contains("failed"));
}

#[test]
fn what_is_no_hl7_has_none_of_the_places() {
    let hooks = hooks(
        "on_before_process:\n\
         - {when: 'Exists(MSH-1) or Exists(PID)', tag: never}\n\
         - {when: 'PID-3.1 = \"\"', tag: none}",
    );
    let judged = hooks.before(&Bytes::from_static(b"\x00\xff"), "In");
    assert_eq!(judged.note, "on_before_process: tag none");
}

#[test]
fn later_hooks_know_what_became_of_the_message() {
    let hooks = hooks(
        "on_after_process:\n\
         - {when: 'Verdict = \"failed\" and Reason Contains \"refused\"', tag: refused}\n\
         - {when: 'Verdict In (\"completed\", \"discarded\")', tag: done}\n\
         - {when: 'attempts >= 3', tag: slow}",
    );
    let after = |outcome: &Outcome, tries| hooks.after(&adt(), "In", outcome, tries);
    assert_eq!(
        after(&Outcome::failed("peer refused it"), 1),
        "on_after_process: tag refused"
    );
    assert_eq!(
        after(&Outcome::completed(), 12),
        "on_after_process: tag done; on_after_process: tag slow",
        "12 is more than 3: by number"
    );
    assert_eq!(after(&Outcome::failed("other"), 2), "");
}

#[test]
fn the_first_recovery_that_holds_decides_and_tags_do_not() {
    let hooks = hooks(
        "on_process_error:\n\
         - {tag: trouble}\n\
         - {when: 'Attempts >= 3', then: suspend, reason: peer is down}\n\
         - {when: 'Verdict = \"retry\"', tag: again}\n\
         - {when: 'Verdict = \"failed\"', then: complete, reply: AR}\n\
         - {then: discard}",
    );
    let asked = |verdict, tries| {
        let mut note = String::new();
        let outcome = Outcome::new(verdict, "why");
        let recovery = hooks.error(&adt(), "In", &outcome, tries, &mut note);
        (recovery.expect("a recovery"), note)
    };
    let (recovery, note) = asked(Verdict::Retry(GiveUp::Fail), 3);
    assert_eq!(recovery.then, Some(Verdict::Suspended));
    assert_eq!(recovery.reason.as_deref(), Some("peer is down"));
    assert_eq!(note, "on_process_error: tag trouble");
    let (recovery, _) = asked(Verdict::Failed, 1);
    assert_eq!(recovery.then, Some(Verdict::Completed));
    assert_eq!(recovery.reply, Some(hie_hl7::AckCode::AR));
    let (recovery, note) = asked(Verdict::Retry(GiveUp::Fail), 1);
    assert_eq!(recovery.then, Some(Verdict::Discarded));
    assert!(note.ends_with("on_process_error: tag again"), "{note}");
}

#[test]
fn the_same_text_makes_the_same_hooks() {
    let one = || hooks("on_before_process:\n- {when: Exists(PID), set: {PID-3.4: NHS}}");
    assert_eq!(one(), one());
    for other in [
        "on_before_process:\n- {when: Exists(PID), set: {PID-3.4: NHS2}}",
        "on_before_process:\n- {when: Exists(PV1), set: {PID-3.4: NHS}}",
        "on_before_process:\n- {when: Exists(PID), set: {PID-3.5: NHS}}",
    ] {
        assert_ne!(one(), hooks(other), "{other}");
    }
}

/// A box around nothing does not allocate: the hooks of a host that has none cost a call.
#[test]
fn the_hooks_of_a_host_without_any_have_no_size() {
    assert_eq!(size_of::<GoOn>() + size_of::<AsItIs>(), 0);
}
