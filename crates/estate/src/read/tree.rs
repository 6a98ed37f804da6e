//! One tree for the notations that are written in YAML or JSON, with the line of everything.
//!
//! Parsers feed a [`Builder`] with scalars, starts and ends; it keeps depth, size and the expansion of aliases within
//! bounds and makes a tree of whatever came before an error.
//!
//! **Invariant:** no tree is deeper than [`DEPTH_MAX`], so code that walks trees may recurse.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Levels of nesting that are kept.
pub(crate) const DEPTH_MAX: usize = 96;
/// Nodes that are kept per document.
const NODES_MAX: usize = 1_500_000;
/// Nodes that aliases may add per document.
const ALIAS_NODES_MAX: usize = 100_000;

/// A value with its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node<'a> {
    /// 1-based line of the first character.
    pub line: u32,
    /// A YAML tag without its `!`: `Ref`, `GetAtt`.
    pub tag: Option<Box<str>>,
    /// The value.
    pub data: Data<'a>,
}

/// What a node holds.
#[derive(Clone, Debug, Default)]
pub(crate) enum Data<'a> {
    /// Nothing.
    #[default]
    Null,
    /// A scalar; numbers and booleans as written.
    Text(Cow<'a, str>),
    /// A sequence.
    List(Vec<Node<'a>>),
    /// A mapping in the order written, duplicate keys included.
    Map(Vec<Entry<'a>>),
}

/// One entry of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    /// The key; empty if it is not a scalar.
    pub key: Cow<'a, str>,
    /// 1-based line of the key.
    pub line: u32,
    /// The value.
    pub value: Node<'a>,
}

impl<'a> Node<'a> {
    /// The value under a key of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node<'a>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// The first entry with a key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry<'a>> {
        self.map().iter().find(|entry| entry.key == key)
    }

    /// The value at the end of a path of keys.
    pub(crate) fn at(&self, path: &[&str]) -> Option<&Node<'a>> {
        path.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The value under a key, compared without case.
    pub(crate) fn get_any_case(&self, key: &str) -> Option<&Node<'a>> {
        self.map().iter().find(|entry| entry.key.eq_ignore_ascii_case(key)).map(|entry| &entry.value)
    }

    /// The scalar, if it is one and has no tag.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text) if self.tag.is_none() => Some(text),
            _ => None,
        }
    }

    /// The scalar under a key.
    pub(crate) fn text_at(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Node::text)
    }

    /// The entries of a mapping; none for anything else.
    pub(crate) fn map(&self) -> &[Entry<'a>] {
        match &self.data {
            Data::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a sequence; none for anything else.
    pub(crate) fn list(&self) -> &[Node<'a>] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    fn is_container(&self) -> bool {
        matches!(self.data, Data::List(_) | Data::Map(_))
    }
}

struct Frame<'a> {
    node: Node<'a>,
    key: Option<(Cow<'a, str>, u32)>,
    anchor: usize,
    depth_below: usize,
    nodes_before: usize,
}

struct Anchored<'a> {
    node: Node<'a>,
    depth: usize,
    nodes: usize,
}

/// Builds a tree from a parser's events. In a mapping, every odd node is a key.
#[derive(Default)]
pub(crate) struct Builder<'a> {
    stack: Vec<Frame<'a>>,
    root: Option<Node<'a>>,
    anchors: HashMap<usize, Anchored<'a>>,
    nodes: usize,
    alias_nodes: usize,
    skipping: usize,
    skip_line: u32,
    /// Line and reason of the first place that was left out.
    pub cut: Option<(u32, &'static str)>,
}

impl<'a> Builder<'a> {
    /// Whether a mapping is open and waits for a key.
    pub(crate) fn wants_key(&self) -> bool {
        self.skipping == 0 && self.stack.last().is_some_and(|f| matches!(f.node.data, Data::Map(_)) && f.key.is_none())
    }

    /// Adds a scalar. `anchor` 0 is none.
    pub(crate) fn scalar(&mut self, node: Node<'a>, anchor: usize) {
        if self.skipping > 0 {
            return;
        }
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), depth: 0, nodes: 1 });
        }
        self.add(node, 0);
    }

    /// Opens a sequence or a mapping.
    pub(crate) fn start(&mut self, node: Node<'a>, anchor: usize) {
        debug_assert!(node.is_container());
        if self.skipping > 0 {
            self.skipping += 1;
            return;
        }
        let why = if self.stack.len() >= DEPTH_MAX {
            Some("nested too deeply: what lies deeper was left out")
        } else if self.nodes >= NODES_MAX {
            Some("too many values: the rest was left out")
        } else {
            None
        };
        if let Some(why) = why {
            self.cut.get_or_insert((node.line, why));
            self.skip_line = node.line;
            self.skipping = 1;
            return;
        }
        self.stack.push(Frame { node, key: None, anchor, depth_below: 0, nodes_before: self.nodes });
    }

    /// Closes the innermost sequence or mapping.
    pub(crate) fn end(&mut self) {
        if self.skipping > 0 {
            self.skipping -= 1;
            if self.skipping == 0 {
                self.add(Node { line: self.skip_line, ..Node::default() }, 0);
            }
            return;
        }
        let Some(mut frame) = self.stack.pop() else {
            return;
        };
        if let Some((key, line)) = frame.key.take()
            && let Data::Map(entries) = &mut frame.node.data
        {
            entries.push(Entry { key, line, value: Node { line, ..Node::default() } });
        }
        if let Data::Map(entries) = &mut frame.node.data {
            merge(entries);
        }
        let depth = frame.depth_below + 1;
        if frame.anchor != 0 {
            let nodes = self.nodes - frame.nodes_before + 1;
            if self.alias_nodes + nodes <= ALIAS_NODES_MAX {
                self.alias_nodes += nodes;
                self.anchors.insert(frame.anchor, Anchored { node: frame.node.clone(), depth, nodes });
            } else {
                self.cut.get_or_insert((frame.node.line, "too many anchors: some aliases were left out"));
            }
        }
        self.add(frame.node, depth);
    }

    /// Adds what an alias stands for.
    pub(crate) fn alias(&mut self, anchor: usize, line: u32) {
        if self.skipping > 0 {
            return;
        }
        let room = ALIAS_NODES_MAX.saturating_sub(self.alias_nodes);
        match self.anchors.get(&anchor) {
            Some(found) if found.nodes <= room && self.stack.len() + found.depth <= DEPTH_MAX => {
                self.alias_nodes += found.nodes;
                self.nodes += found.nodes - 1;
                let (mut node, depth) = (found.node.clone(), found.depth);
                node.line = line;
                self.add(node, depth);
            }
            Some(_) => {
                self.cut.get_or_insert((line, "aliases expand to too much: they were left out"));
                self.add(Node { line, ..Node::default() }, 0);
            }
            None => self.add(Node { line, ..Node::default() }, 0),
        }
    }

    fn add(&mut self, node: Node<'a>, depth: usize) {
        self.nodes += 1;
        let Some(frame) = self.stack.last_mut() else {
            self.root.get_or_insert(node);
            return;
        };
        frame.depth_below = frame.depth_below.max(depth);
        match &mut frame.node.data {
            Data::List(items) => {
                if items.len() < NODES_MAX {
                    items.push(node);
                }
            }
            Data::Map(entries) => match frame.key.take() {
                Some((key, line)) => entries.push(Entry { key, line, value: node }),
                None => {
                    let line = node.line;
                    let key = match node.data {
                        Data::Text(text) => text,
                        _ => Cow::Borrowed(""),
                    };
                    frame.key = Some((key, line));
                }
            },
            Data::Null | Data::Text(_) => {}
        }
    }

    /// The tree of everything so far; what is open is closed.
    pub(crate) fn finish(mut self) -> (Option<Node<'a>>, Option<(u32, &'static str)>) {
        if self.skipping > 0 {
            self.skipping = 1;
            self.end();
        }
        while !self.stack.is_empty() {
            self.end();
        }
        (self.root, self.cut)
    }
}

/// Puts the entries of `<<` beside the mapping's own, which win.
fn merge<'a>(entries: &mut Vec<Entry<'a>>) {
    if !entries.iter().any(|entry| entry.key == "<<") {
        return;
    }
    let mut seen: HashSet<String> = entries.iter().map(|entry| entry.key.to_string()).collect();
    let mut added = Vec::new();
    for entry in entries.iter().filter(|entry| entry.key == "<<") {
        let sources = match &entry.value.data {
            Data::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        for source in sources {
            for inherited in source.map() {
                if seen.insert(inherited.key.to_string()) {
                    added.push(inherited.clone());
                }
            }
        }
    }
    entries.retain(|entry| entry.key != "<<");
    entries.append(&mut added);
}
