//! The `rules:` section: from YAML to compiled rule sets, with places for what the rules crate
//! finds wrong in them. What an expression means is not known here.

use std::{collections::BTreeMap, sync::Arc};

use hie_rules::{ActionDef, MatchMode, RuleDef, RuleError, RuleField, RuleSet, RuleSetDef};

use super::{
    error::Problem,
    keys,
    lines::{Place, shown},
    reader::{Fields, Named, Reader},
    yaml::{Kind, Node},
};

/// A rule set as read.
pub(crate) struct Rules {
    pub(crate) name: String,
    /// None if it does not compile; its name is known all the same.
    pub(crate) compiled: Option<Arc<RuleSet>>,
    /// Every target that its rules name.
    pub(crate) targets: Vec<Named>,
}

/// Places within a rule set or one of its rules.
struct Places<'n> {
    at: Place,
    keys: BTreeMap<&'static str, Place>,
    when: Option<&'n Node>,
    when_secret: bool,
    /// Whether its keys could be read; if not, what seems to be missing may be what was not read.
    sound: bool,
    send: Vec<Named>,
}

impl Reader<'_> {
    /// All rule sets: a list with names, or a mapping from name to rule set.
    pub(crate) fn rules(&mut self, node: &Node) -> Vec<Rules> {
        let mut sets: BTreeMap<String, Place> = BTreeMap::new();
        let mut all = Vec::new();
        let named: Vec<(Option<(&str, Place)>, &Node)> = match &node.kind {
            Kind::Mapping(entries) => entries
                .iter()
                .map(|(key, node)| (Some((&*key.text, key.at)), node))
                .collect(),
            _ => self
                .sequence(node, "`rules:`", None)
                .iter()
                .map(|node| (None, node))
                .collect(),
        };
        for (name, node) in named {
            let Some((rules, at)) = self.rule_set(name, node) else {
                continue;
            };
            if let Some(first) = sets.insert(rules.name.clone(), at) {
                let message = format!(
                    "another rule set has the name `{}`, at line {}",
                    rules.name, first.line
                );
                self.errors.add(Problem::new(at, message));
                continue;
            }
            all.push(rules);
        }
        all
    }

    fn rule_set(&mut self, name: Option<(&str, Place)>, node: &Node) -> Option<(Rules, Place)> {
        if !matches!(node.kind, Kind::Mapping(_)) {
            let message = format!("expected a rule set, found {}", node.kind_name());
            let problem = Problem::new(node.at, message);
            self.errors
                .add(problem.help("a rule set has `name:`, `match:` and `rules:`"));
            return None;
        }
        let before = self.errors.count();
        let shape = if name.is_some() {
            &keys::NAMED_RULE_SET_SHAPE
        } else {
            &keys::RULE_SET_SHAPE
        };
        let fields = self.fields(node, shape, None);
        let (name, at) = match name {
            Some((name, at)) => (name.to_owned(), at),
            None => {
                let at = fields.places.get("name").copied();
                (
                    fields.values.text("name")?.to_owned(),
                    at.unwrap_or(node.at),
                )
            }
        };
        let (rules, places) = self.rule_list(&fields);
        let (default, default_places) = self.rule_default(&fields);
        let match_mode = match fields.values.text("match") {
            Some("first") => MatchMode::First,
            _ => MatchMode::All,
        };
        let sends = places
            .iter()
            .chain(&default_places)
            .flat_map(|p| p.send.iter().cloned());
        let targets = sends.collect();
        let def = RuleSetDef {
            name: name.clone(),
            match_mode,
            rules,
            default,
        };
        let compiled = match RuleSet::compile(&def) {
            Ok(set) if self.errors.count() == before => Some(Arc::new(set)),
            Ok(_) => None,
            Err(errors) => {
                for error in errors {
                    self.rule_error(&def, error, &places, default_places.as_ref(), at);
                }
                None
            }
        };
        Some((
            Rules {
                name,
                compiled,
                targets,
            },
            at,
        ))
    }

    fn rule_list<'n>(&mut self, set: &Fields<'n>) -> (Vec<RuleDef>, Vec<Places<'n>>) {
        let Some(node) = set.nodes.get("rules").copied() else {
            return (Vec::new(), Vec::new());
        };
        let mut all = (Vec::new(), Vec::new());
        for node in self.sequence(node, "`rules:` of a rule set", None) {
            let before = self.errors.count();
            let mut fields = self.fields(node, &keys::RULE_SHAPE, None);
            all.0.push(RuleDef {
                name: fields.text("name"),
                enabled: fields.values.bool("enabled"),
                when: fields.values.text("when").map(str::to_owned),
                send: fields.values.list("send").to_vec(),
                delete: fields.values.bool("delete"),
            });
            let when = find(node, &["when", "condition", "condition_expression"]);
            let send = fields.names.remove("send").unwrap_or_default();
            let sound = self.errors.count() == before;
            let when_secret = fields.values.is_secret("when");
            all.1.push(Places {
                at: node.at,
                keys: fields.places,
                when,
                when_secret,
                sound,
                send,
            });
        }
        all
    }

    fn rule_default<'n>(&mut self, set: &Fields<'n>) -> (Option<ActionDef>, Option<Places<'n>>) {
        let Some(node) = set.nodes.get("default").copied() else {
            return (None, None);
        };
        let before = self.errors.count();
        let mut fields = self.fields(node, &keys::DEFAULT_SHAPE, None);
        let sound = self.errors.count() == before;
        let send = fields.values.list("send").to_vec();
        let action = ActionDef {
            send,
            delete: fields.values.bool("delete"),
        };
        let send = fields.names.remove("send").unwrap_or_default();
        let places = Places {
            at: node.at,
            keys: fields.places,
            when: None,
            when_secret: false,
            sound,
            send,
        };
        (Some(action), Some(places))
    }

    fn rule_error(
        &mut self,
        def: &RuleSetDef,
        error: RuleError,
        rules: &[Places<'_>],
        default: Option<&Places<'_>>,
        set_at: Place,
    ) {
        let places = match error.rule_index {
            Some(index) => rules.get(index),
            None => default.filter(|_| error.field != RuleField::Name),
        };
        let certain = matches!(error.field, RuleField::When | RuleField::Delete);
        if places.is_some_and(|places| !places.sound) && !certain {
            return;
        }
        let at = places.map_or(set_at, |places| self.rule_place(places, &error));
        let rule = match error.rule_index {
            Some(index) => match def.rules.get(index).map(|rule| rule.name.as_str()) {
                Some(name) if !name.is_empty() => format!(", rule {name}"),
                _ => format!(", rule {}", index + 1),
            },
            None if error.field == RuleField::Name => String::new(),
            None => ", default".into(),
        };
        let hidden = error.field == RuleField::When && places.is_some_and(|p| p.when_secret);
        let (wrong, help) = match hidden {
            true => (
                "what this stands for is not a valid expression".to_owned(),
                None,
            ),
            false => (error.message, error.help),
        };
        let message = format!("rule set {}{rule}: {wrong}", shown(&def.name));
        let problem = Problem::new(at, message).setting(error.field.key());
        self.errors.add(problem.maybe_help(help));
    }

    fn rule_place(&self, places: &Places<'_>, error: &RuleError) -> Place {
        if error.field == RuleField::When
            && let Some(Node {
                kind: Kind::Scalar(raw, style),
                at,
            }) = places.when
        {
            // A place in the text with everything put in says nothing of the text as written.
            let offset = if raw.contains("${") { 0 } else { error.offset };
            return self.lines.place_in(*at, raw, *style, offset);
        }
        let entry = error
            .entry
            .and_then(|entry| places.send.get(entry))
            .map(|named| named.at);
        entry
            .or_else(|| places.keys.get(error.field.key()).copied())
            .unwrap_or(places.at)
    }
}

/// The value under one of these keys.
pub(crate) fn find<'n>(node: &'n Node, names: &[&str]) -> Option<&'n Node> {
    let Kind::Mapping(entries) = &node.kind else {
        return None;
    };
    entries
        .iter()
        .find(|(key, _)| names.contains(&key.text.as_str()))
        .map(|(_, node)| node)
}
