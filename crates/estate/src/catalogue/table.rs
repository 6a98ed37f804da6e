//! Rules ready to be looked up: judgements, the patterns that lead to them, and the attributes that refine them.
//!
//! The built-in table is written by the build script as statics, so that a start costs nothing; the user's table has
//! the same shape with owned text. Knows nothing of TOML.
//!
//! **Invariant:** `exact` and `prefixes` are sorted by their bytes, lower case, and every index is inside
//! `judgements`.

use std::borrow::Cow;

use super::words::{Class, Effort, Facets, Test};

/// Text that is compiled in, or that came with the user's rules.
pub type Text = Cow<'static, str>;

/// What the catalogue says of one group of types.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The rule's id: `aws-rds`, `aws-s3/access`, `aws-rds?oracle`.
    pub id: Text,
    /// The service, as its provider calls it.
    pub service: Text,
    /// The class.
    pub class: Class,
    /// One value per facet.
    pub facets: Facets,
    /// What to run instead.
    pub replacement: Text,
    /// How the data leaves.
    pub exit_path: Text,
    /// Working days.
    pub effort_days: Effort,
    /// Why it has this class.
    pub why: Text,
    /// Where that can be read; empty for a user's rule without evidence.
    pub evidence_url: Text,
    /// When it was read, `YYYY-MM-DD`; empty without evidence.
    pub evidence_date: Text,
    /// 0 to 100.
    pub confidence: u8,
    /// Attribute conditions, first match wins.
    pub whens: Cow<'static, [When]>,
}

/// An attribute condition and the judgement it leads to.
#[derive(Clone, Debug)]
pub struct When {
    /// Attribute names in the notations that have them; the first one with a known value is tested.
    pub attributes: Cow<'static, [Text]>,
    /// How the value is tested.
    pub test: Test,
    /// Lower-case values, any of which may fit.
    pub values: Cow<'static, [Text]>,
    /// Index of the judgement that then holds.
    pub then: u16,
}

impl When {
    /// Whether `value` fits.
    pub fn fits(&self, value: &str) -> bool {
        let value = value.trim();
        self.values.iter().any(|wanted| match self.test {
            Test::Is => value.eq_ignore_ascii_case(wanted),
            Test::StartsWith => value.get(..wanted.len()).is_some_and(|head| head.eq_ignore_ascii_case(wanted)),
            Test::Contains => value.as_bytes().windows(wanted.len()).any(|window| window.eq_ignore_ascii_case(wanted.as_bytes())),
        })
    }
}

/// How a type name was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit<'t> {
    /// By its whole name.
    Exact(&'t str, u16),
    /// By this prefix.
    Prefix(&'t str, u16),
}

impl Hit<'_> {
    /// Index of the judgement.
    pub fn judgement(self) -> usize {
        match self {
            Hit::Exact(_, index) | Hit::Prefix(_, index) => usize::from(index),
        }
    }
}

/// A set of rules.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// Whole type names.
    pub exact: Cow<'static, [(Text, u16)]>,
    /// Prefixes of type names.
    pub prefixes: Cow<'static, [(Text, u16)]>,
    /// What they lead to.
    pub judgements: Cow<'static, [Judgement]>,
}

impl Table {
    /// The rule for a canonical type name: the whole name first, then the longest prefix.
    pub fn find(&self, key: &str) -> Option<Hit<'_>> {
        if let Ok(at) = self.exact.binary_search_by(|(name, _)| name.as_bytes().cmp(key.as_bytes())) {
            let (name, index) = &self.exact[at];
            return Some(Hit::Exact(name, *index));
        }
        let key = key.as_bytes();
        let mut head = key;
        loop {
            let after = self.prefixes.partition_point(|(prefix, _)| prefix.as_bytes() <= head);
            let (prefix, index) = self.prefixes.get(after.checked_sub(1)?)?;
            if key.starts_with(prefix.as_bytes()) {
                return Some(Hit::Prefix(prefix, *index));
            }
            let common = prefix.as_bytes().iter().zip(head).take_while(|(a, b)| a == b).count();
            head = &head[..common];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(exact: &[(&'static str, u16)], prefixes: &[(&'static str, u16)]) -> Table {
        let own = |pairs: &[(&'static str, u16)]| {
            let mut pairs: Vec<_> = pairs.iter().map(|(name, index)| (Text::Borrowed(*name), *index)).collect();
            pairs.sort();
            Cow::Owned(pairs)
        };
        Table { exact: own(exact), prefixes: own(prefixes), judgements: Cow::Borrowed(&[]) }
    }

    #[test]
    fn the_longest_prefix_wins_and_neighbours_do_not_hide_it() {
        let table = table(&[("aws_s3_bucket", 9)], &[("aws_s3_", 1), ("aws_s3_bucket_m", 2), ("aws_s", 3), ("aws_s3_bucket_p", 4)]);
        let at = |key| table.find(key).map(Hit::judgement);
        assert_eq!(at("aws_s3_bucket"), Some(9));
        assert_eq!(at("aws_s3_bucket_metric"), Some(2));
        assert_eq!(at("aws_s3_bucket_notification"), Some(1));
        assert_eq!(at("aws_s3_bucket_zzz"), Some(1));
        assert_eq!(at("aws_sqs_queue"), Some(3));
        assert_eq!(at("aws_z"), None);
        assert_eq!(at(""), None);
    }
}
