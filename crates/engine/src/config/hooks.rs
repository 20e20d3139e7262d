//! The `hooks:` of an item: from YAML to compiled hooks, with places for what is wrong in them.
//!
//! Owns which actions an entry may join. What a condition or a change means is the rules crate's,
//! what hooks do is [`crate::hooks`]'.

use std::{collections::BTreeMap, sync::Arc};

use hie_hl7::AckCode;
use hie_rules::{Change, ChangeFault, CompileError, Expr, Word};

use super::{
    error::{Problem, given_twice},
    hook_keys,
    keys::Shape,
    lines::{Place, Style},
    reader::{Fields, Reader},
    rules::find,
    yaml::{Key, Kind, Node},
};
use crate::{
    hooks::{AfterHook, BeforeHook, ErrorHook, Hooks, OUTCOME_WORDS, REPLY_CODES},
    host::Verdict,
};

impl Reader<'_> {
    /// The hooks of an item; none where there are none. To be used only if there are no errors.
    pub(crate) fn hooks(
        &mut self,
        node: &Node,
        service: bool,
        item: Option<&str>,
    ) -> Option<Arc<Hooks>> {
        let fields = self.fields(node, &hook_keys::HOOKS_SHAPE, item);
        let mut hooks = Hooks::default();
        for node in self.hook_list(&fields, "on_before_process", item) {
            hooks.before.extend(self.before_hook(node, item));
        }
        for node in self.hook_list(&fields, "on_after_process", item) {
            hooks.after.extend(self.after_hook(node, item));
        }
        for node in self.hook_list(&fields, "on_process_error", item) {
            hooks.error.extend(self.error_hook(node, service, item));
        }
        (!hooks.is_empty()).then(|| Arc::new(hooks))
    }

    fn hook_list<'n>(
        &mut self,
        fields: &Fields<'n>,
        name: &'static str,
        item: Option<&str>,
    ) -> &'n [Node] {
        match fields.nodes.get(name).copied() {
            Some(node) => self.sequence(node, &format!("`{name}:`"), item),
            None => &[],
        }
    }

    fn before_hook(&mut self, node: &Node, item: Option<&str>) -> Option<BeforeHook> {
        let (fields, sound) = self.hook_fields(node, &hook_keys::BEFORE_HOOK_SHAPE, item);
        let when = self.hook_when(node, &fields, &[], item);
        let text = |name| fields.values.text(name).map(str::to_owned);
        let hook = BeforeHook {
            when,
            reject: text("reject"),
            set: match fields.nodes.get("set").copied() {
                Some(node) => self.changes(node, item),
                None => Vec::new(),
            },
            tag: text("tag"),
        };
        let given = |name: &str| fields.places.get(name).copied();
        if let (Some(at), Some(_)) = (given("set"), given("reject")) {
            let message = "a hook that rejects a message cannot change it too";
            let help = "a rejected message is kept as it came; leave one of the two out";
            self.hook_problem(at, message, help, "set", item);
        }
        let acts = ["reject", "set", "tag"]
            .iter()
            .any(|name| given(name).is_some());
        if sound && !acts {
            let help = "give at least one of `reject`, `set` and `tag`";
            self.hook_problem(
                node.at,
                "this hook does nothing",
                help,
                "on_before_process",
                item,
            );
        }
        Some(hook)
    }

    fn after_hook(&mut self, node: &Node, item: Option<&str>) -> Option<AfterHook> {
        let (fields, _) = self.hook_fields(node, &hook_keys::AFTER_HOOK_SHAPE, item);
        let when = self.hook_when(node, &fields, OUTCOME_WORDS, item);
        let tag = fields.values.text("tag")?.to_owned();
        Some(AfterHook { when, tag })
    }

    fn error_hook(&mut self, node: &Node, service: bool, item: Option<&str>) -> Option<ErrorHook> {
        let (fields, sound) = self.hook_fields(node, &hook_keys::ERROR_HOOK_SHAPE, item);
        let when = self.hook_when(node, &fields, OUTCOME_WORDS, item);
        let place = |name: &str| fields.places.get(name).copied();
        let acts = ["then", "reply", "reason", "tag"]
            .iter()
            .any(|name| place(name).is_some());
        if sound && !acts {
            let help = "give at least one of `then`, `reply`, `reason` and `tag`";
            self.hook_problem(
                node.at,
                "this hook does nothing",
                help,
                "on_process_error",
                item,
            );
        }
        let then = fields.values.text("then");
        if let (true, Some(at), Some("suspend" | "complete")) = (service, place("then"), then) {
            let message = "what a service cannot let in can only fail or be discarded";
            self.hook_problem(at, message, "write `fail` or `discard`", "then", item);
        }
        if let (true, Some(at)) = (service, place("reply")) {
            let help = "leave it out; the service's NackErrorCode says which code its sender gets";
            self.hook_problem(at, "a service has its own answers", help, "reply", item);
        }
        let text = |name| fields.values.text(name).map(str::to_owned);
        Some(ErrorHook {
            when,
            then: then.and_then(verdict),
            reply: fields.values.text("reply").and_then(code),
            reason: text("reason"),
            tag: text("tag"),
        })
    }

    /// The keys of an entry, and whether all could be read.
    fn hook_fields<'n>(
        &mut self,
        node: &'n Node,
        shape: &Shape,
        item: Option<&str>,
    ) -> (Fields<'n>, bool) {
        let before = self.errors.count();
        let fields = self.fields(node, shape, item);
        let sound = self.errors.count() == before;
        (fields, sound)
    }

    /// The condition; none is always true.
    fn hook_when(
        &mut self,
        node: &Node,
        fields: &Fields<'_>,
        words: &[Word],
        item: Option<&str>,
    ) -> Option<Expr> {
        let text = fields.values.text("when")?;
        match Expr::compile_with(text, words) {
            Ok(expr) => Some(expr),
            Err(error) => {
                let secret = fields.values.is_secret("when");
                let late = words.is_empty() && names_outcome(text, &error);
                let help = late.then(|| {
                    "what became of a message is only known in on_after_process and \
                     on_process_error"
                        .to_owned()
                });
                let error = CompileError {
                    help: help.or(error.help),
                    ..error
                };
                if let Some(value) = find(node, &["when"]) {
                    self.hook_error(value, error, secret, "when", item);
                }
                None
            }
        }
    }

    /// The entries of `set:`.
    fn changes(&mut self, node: &Node, item: Option<&str>) -> Vec<Change> {
        let entries = self.entries(node, "`set:`", item);
        if entries.is_empty() && (node.is_nothing() || matches!(node.kind, Kind::Mapping(_))) {
            let help = "name places and values, such as `set: {PID-3.4: NHS}`";
            self.hook_problem(node.at, "`set:` is empty", help, "set", item);
        }
        let mut places: BTreeMap<String, Place> = BTreeMap::new();
        let mut all = Vec::new();
        for (key, value) in entries {
            let Some(text) = self.text(value, item, "set") else {
                continue;
            };
            match Change::compile(&key.text, &text.text) {
                Ok(change) => {
                    if let Some(first) = places.insert(change.place().to_string(), key.at) {
                        let twice = given_twice(key.at, &key.text, first);
                        self.errors.add(twice.item(item).setting("set"));
                    }
                    all.push(change);
                }
                Err(ChangeFault::Place(error)) => self.hook_key_error(key, error, item),
                Err(ChangeFault::Value(error)) => {
                    self.hook_error(value, error, text.secret, "set", item);
                }
            }
        }
        all
    }

    /// A fault within a value.
    fn hook_error(
        &mut self,
        node: &Node,
        error: CompileError,
        secret: bool,
        setting: &str,
        item: Option<&str>,
    ) {
        let at = match &node.kind {
            Kind::Scalar(raw, style) => {
                // A place in the text with everything put in says nothing of the text as written.
                let offset = if raw.contains("${") { 0 } else { error.offset };
                self.lines.place_in(node.at, raw, *style, offset)
            }
            _ => node.at,
        };
        let problem = match secret {
            true => Problem::new(at, "what this stands for is not valid here"),
            false => Problem::new(at, error.message).maybe_help(error.help),
        };
        self.errors.add(problem.item(item).setting(setting));
    }

    /// A fault within a key.
    fn hook_key_error(&mut self, key: &Key, error: CompileError, item: Option<&str>) {
        let first = self
            .lines
            .line(key.at.line)
            .chars()
            .nth(key.at.column.saturating_sub(1));
        let style = match first {
            Some('\'') => Style::SingleQuoted,
            Some('"') => Style::DoubleQuoted,
            _ => Style::Plain,
        };
        let at = self.lines.place_in(key.at, &key.text, style, error.offset);
        let problem = Problem::new(at, error.message).maybe_help(error.help);
        self.errors.add(problem.item(item).setting("set"));
    }

    fn hook_problem(
        &mut self,
        at: Place,
        message: &str,
        help: &str,
        setting: &str,
        item: Option<&str>,
    ) {
        let problem = Problem::new(at, message).help(help);
        self.errors.add(problem.item(item).setting(setting));
    }
}

/// Whether the fault is a word that only later hooks know.
fn names_outcome(text: &str, error: &CompileError) -> bool {
    let word = text.get(error.offset..error.offset + error.len);
    word.is_some_and(|word| {
        OUTCOME_WORDS
            .iter()
            .any(|known| known.name.eq_ignore_ascii_case(word))
    })
}

fn verdict(then: &str) -> Option<Verdict> {
    match then {
        "suspend" => Some(Verdict::Suspended),
        "fail" => Some(Verdict::Failed),
        "discard" => Some(Verdict::Discarded),
        "complete" => Some(Verdict::Completed),
        _ => None,
    }
}

fn code(reply: &str) -> Option<AckCode> {
    let mut codes = REPLY_CODES.iter();
    codes
        .find(|(name, _)| *name == reply)
        .map(|(_, code)| *code)
}
