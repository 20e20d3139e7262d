//! YAML as the configuration sees it: scalars are raw text, every node knows its place.
//!
//! Built on the event stream of the parser and not on its tree, because the tree would read `2.30`
//! as a number and forget the zero, and because the limits (depth, number of nodes) must hold
//! before anything is built. Owns duplicate keys, anchors and aliases. Knows nothing of
//! settings.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};

use super::{
    error::{Problem, given_twice},
    lines::{Lines, Place, Style},
};

/// Nesting beyond this is refused; the configuration itself needs six.
const DEPTH_MAX: usize = 32;
/// Nodes beyond this are refused, those that aliases repeat included.
const NODES_MAX: usize = 500_000;

impl From<&Marker> for Place {
    fn from(mark: &Marker) -> Self {
        Self {
            line: mark.line().max(1),
            column: mark.col().saturating_add(1),
        }
    }
}

/// A node with its place.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) at: Place,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Kind {
    Scalar(String, Style),
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) at: Place,
}

impl Node {
    /// Whether nothing was written: `items:` with an empty value.
    pub(crate) fn is_nothing(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, Style::Plain) if text.is_empty())
    }

    /// What it is, for an error that expected something else.
    pub(crate) fn kind_name(&self) -> &'static str {
        match &self.kind {
            _ if self.is_nothing() => "nothing",
            Kind::Scalar(..) => "a single value",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a group of `key: value` lines",
        }
    }

    /// How many nodes it holds, itself included.
    fn size(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(..) => 0,
            Kind::Sequence(items) => items.iter().map(Node::size).sum(),
            Kind::Mapping(entries) => entries.iter().map(|(_, node)| node.size()).sum(),
        }
    }

    /// How many levels it has.
    fn depth(&self) -> usize {
        1 + match &self.kind {
            Kind::Scalar(..) => 0,
            Kind::Sequence(items) => items.iter().map(Node::depth).max().unwrap_or(0),
            Kind::Mapping(entries) => entries.iter().map(|(_, n)| n.depth()).max().unwrap_or(0),
        }
    }
}

/// Reads one document. Gives what could be read and what is wrong with it; after a fault of the
/// syntax there is no node, because what follows cannot be understood.
pub(crate) fn parse(text: &str) -> (Option<Node>, Vec<Problem>) {
    if let Some(problem) = forbidden_character(text) {
        return (None, vec![problem]);
    }
    let mut builder = Builder::default();
    let outcome = builder.run(Parser::new_from_str(text));
    let mut problems = builder.problems;
    match outcome {
        Ok(()) => (builder.root, problems),
        Err(problem) => {
            problems.push(*problem);
            (None, problems)
        }
    }
}

/// The parser takes NUL for the end of the file and would silently drop what follows; YAML 1.2
/// (5.1) forbids the other control characters too.
fn forbidden_character(text: &str) -> Option<Problem> {
    let bad = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}');
    let offset = text.find(bad)?;
    let code = text
        .get(offset..)
        .and_then(|rest| rest.chars().next())
        .map_or(0, u32::from);
    let before = text.get(..offset).unwrap_or("");
    let lines = Lines::new(before);
    let line = lines.count();
    let column = lines.line(line).chars().count() + 1;
    Some(
        Problem::new(
            Place { line, column },
            format!("control character U+{code:04X} in the file"),
        )
        .help("remove it; inside double quotes it can be written as `\\x..`"),
    )
}

/// A collection that is still open.
struct Frame {
    at: Place,
    anchor: usize,
    content: Open,
}

enum Open {
    Sequence(Vec<Node>),
    Mapping {
        entries: Vec<(Key, Node)>,
        seen: HashMap<String, Place>,
        key: Option<Key>,
    },
}

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    stack: Vec<Frame>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    documents: usize,
    problems: Vec<Problem>,
}

type Step = Result<(), Box<Problem>>;

fn fatal(at: Place, message: impl Into<String>, help: &str) -> Step {
    Err(Box::new(Problem::new(at, message).help(help)))
}

impl Builder {
    fn run(&mut self, mut parser: Parser<'_, StrInput<'_>>) -> Step {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| Box::new(syntax(&error)))?;
            self.event(event, span)?;
        }
        Ok(())
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Step {
        let at = Place::from(&span.start);
        match event {
            Event::DocumentStart(_) => self.document(at),
            Event::Scalar(text, style, anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.scalar(text.into_owned(), style_of(style), anchor, at)
            }
            Event::SequenceStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                self.open(Open::Sequence(Vec::new()), anchor, at)
            }
            Event::MappingStart(anchor, tag) => {
                self.tag(tag.as_deref(), at);
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.open(
                    Open::Mapping {
                        entries,
                        seen,
                        key: None,
                    },
                    anchor,
                    at,
                )
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self, at: Place) -> Step {
        self.documents += 1;
        if self.documents > 1 {
            return fatal(
                at,
                "a second document begins here",
                "one file holds one production",
            );
        }
        Ok(())
    }

    /// `!!str` and its like say nothing here: the setting's declaration types the value. A tag of
    /// another kind would be dropped in silence, so it is refused.
    fn tag(&mut self, tag: Option<&Tag>, at: Place) {
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
            let message = format!("tag `{tag}` is not known");
            self.problems
                .push(Problem::new(at, message).help("write the value without a tag"));
        }
    }

    fn count(&mut self, nodes: usize, at: Place) -> Step {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > NODES_MAX {
            let message = format!("the file holds more than {NODES_MAX} values");
            return fatal(at, message, "split the production, or use fewer aliases");
        }
        Ok(())
    }

    fn scalar(&mut self, text: String, style: Style, anchor: usize, at: Place) -> Step {
        self.count(1, at)?;
        if let Some(Frame {
            content:
                Open::Mapping {
                    key: key @ None,
                    seen,
                    ..
                },
            ..
        }) = self.stack.last_mut()
        {
            if text == "<<" && style == Style::Plain {
                return fatal(
                    at,
                    "merge keys (`<<`) are not supported",
                    "write the lines out",
                );
            }
            if let Some(first) = seen.get(&text) {
                self.problems.push(given_twice(at, &text, *first));
            }
            *key = Some(Key { text, at });
            return Ok(());
        }
        // An empty value has no text to point at: its key stands for it.
        let nothing = text.is_empty() && style == Style::Plain;
        let at = match self.stack.last() {
            Some(Frame {
                content: Open::Mapping { key: Some(key), .. },
                ..
            }) if nothing => key.at,
            _ => at,
        };
        self.place(
            Node {
                kind: Kind::Scalar(text, style),
                at,
            },
            anchor,
        )
    }

    fn open(&mut self, content: Open, anchor: usize, at: Place) -> Step {
        self.count(1, at)?;
        self.refuse_as_key(at)?;
        if self.stack.len() >= DEPTH_MAX {
            return Err(Box::new(too_deep(at)));
        }
        self.stack.push(Frame {
            at,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Step {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let kind = match frame.content {
            Open::Sequence(items) => Kind::Sequence(items),
            Open::Mapping { entries, .. } => Kind::Mapping(entries),
        };
        self.place(Node { kind, at: frame.at }, frame.anchor)
    }

    fn alias(&mut self, anchor: usize, at: Place) -> Step {
        self.refuse_as_key(at)?;
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return fatal(
                at,
                "the alias stands inside its own anchor",
                "write the value out",
            );
        };
        if self.stack.len() + node.depth() > DEPTH_MAX {
            return Err(Box::new(too_deep(at)));
        }
        self.count(node.size(), at)?;
        self.place(node, 0)
    }

    fn refuse_as_key(&self, at: Place) -> Step {
        match self.stack.last() {
            Some(Frame {
                content: Open::Mapping { key: None, .. },
                ..
            }) => fatal(at, "a key must be plain text", "write `key: value`"),
            _ => Ok(()),
        }
    }

    /// Puts a finished node where it belongs.
    fn place(&mut self, node: Node, anchor: usize) -> Step {
        if anchor > 0 {
            self.count(node.size(), node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Open::Sequence(items)) => items.push(node),
            Some(Open::Mapping { entries, seen, key }) => {
                if let Some(key) = key.take()
                    && !seen.contains_key(&key.text)
                {
                    seen.insert(key.text.clone(), key.at);
                    entries.push((key, node));
                }
            }
        }
        Ok(())
    }
}

fn too_deep(at: Place) -> Problem {
    Problem::new(at, format!("nested deeper than {DEPTH_MAX} levels"))
        .help("a production needs six at most")
}

fn syntax(error: &saphyr_parser::ScanError) -> Problem {
    // The scanner has a limit of its own, beyond ours, which looking ahead reaches first.
    if error.info().contains("recursion limit") {
        return too_deep(Place::from(error.marker()));
    }
    let message = format!("not valid YAML: {}", error.info());
    Problem::new(Place::from(error.marker()), message)
        .help("look at indentation, colons and quotes here and in the line above")
}

fn style_of(style: ScalarStyle) -> Style {
    match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::SingleQuoted,
        ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
        ScalarStyle::Literal => Style::Literal,
        ScalarStyle::Folded => Style::Folded,
    }
}
