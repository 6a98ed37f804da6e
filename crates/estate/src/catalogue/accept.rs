//! Findings that the user has looked at and accepts, each with a reason and a last day.
//!
//! **Invariant:** an acceptance names at least one thing it covers, and it ends.

use super::Verdict;
use crate::resource::Resource;

/// One `[[accept]]` of `freehold-audit.toml`. All selectors that are given must fit; `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// Resource type, as written in the estate.
    pub kind: Option<String>,
    /// Address within the notation.
    pub address: Option<String>,
    /// File, relative to the audited path.
    pub file: Option<String>,
    /// Rule id; a service's id covers its parts and refinements.
    pub rule: Option<String>,
    /// Why it is accepted.
    pub reason: String,
    /// The last day on which it holds.
    pub expires: time::Date,
    /// 1-based line in the user's file.
    pub line: usize,
}

impl Acceptance {
    /// Whether it speaks of this finding, whatever the date.
    pub fn covers(&self, resource: &Resource, verdict: &Verdict) -> bool {
        let fits =
            |pattern: &Option<String>, text: &str| pattern.as_deref().is_none_or(|pattern| glob(pattern.as_bytes(), text.as_bytes()));
        fits(&self.kind, &resource.kind)
            && fits(&self.address, &resource.address)
            && fits(&self.file, &resource.file)
            && self.rule.as_deref().is_none_or(|id| rule_covers(id, &verdict.rule))
    }
}

fn rule_covers(id: &str, rule: &str) -> bool {
    rule.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

/// `*` is any run of bytes; linear in the text for each star, without backtracking further than the last one.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p) == Some(&text[t]) {
            p += 1;
            t += 1;
        } else if let Some((star_p, star_t)) = star {
            p = star_p + 1;
            t = star_t + 1;
            star = Some((star_p, star_t + 1));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expect) in [
            ("module.*.aws_vpc.main", "module.net.aws_vpc.main", true),
            ("*.tf", "a/b.tf", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("aws_*", "aws_", true),
            ("aws_s3_bucket", "aws_s3_bucket_policy", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }

    #[test]
    fn a_service_covers_its_parts() {
        assert!(rule_covers("aws-s3", "aws-s3/access"));
        assert!(rule_covers("aws-rds", "aws-rds?oracle"));
        assert!(!rule_covers("aws-s3", "aws-s3tables"));
    }
}
