//! The hard questions to put to a provider before signing or leaving, with what it has published.
//!
//! Questions and facts are data (`readiness/*.toml`), compiled in. A provider without published facts gets the same
//! questions. Knows nothing of audits and contracts.
//!
//! **Invariant:** every fact names an existing question, a source and a date.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::contracts::clocks::DATA_ACT_URL;
use crate::report::escape::{html, link, markdown};
use crate::report::page::Page;

/// A published fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Id of the question that it helps to answer.
    pub question: String,
    /// What is known.
    pub text: String,
    /// Where it stands.
    pub url: String,
    /// The day up to which it is known to hold, `YYYY-MM-DD`.
    pub date: String,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Stable name.
    pub id: String,
    /// Heading under which it stands.
    pub topic: String,
    /// The question.
    pub question: String,
    /// Articles of Regulation (EU) 2023/2854.
    pub articles: Vec<String>,
    /// Why it matters.
    pub why: String,
    /// What a good answer looks like.
    pub good: String,
    /// What a bad answer looks like.
    pub bad: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Questions {
    question: Vec<Question>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    name: String,
    fact: Vec<Fact>,
}

/// One question with what the provider published about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Item {
    /// The question.
    #[serde(flatten)]
    pub question: Question,
    /// What is known.
    pub known: Vec<Fact>,
}

/// The questionnaire for one provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Questionnaire {
    /// The provider's name.
    pub provider: String,
    /// The law behind it.
    pub regulation: &'static str,
    /// The questions, grouped by topic.
    pub items: Vec<Item>,
}

/// What is wrong with the data that ships with Freehold; a defect, shown instead of a panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the readiness data is damaged: {0}")]
pub struct ReadinessError(String);

/// The questionnaire for `aws`, `azure`, `google`, or any other provider, which then has no published facts.
///
/// # Errors
/// When the data compiled in is damaged; a test holds that it is not.
pub fn questionnaire(provider: &str) -> Result<Questionnaire, ReadinessError> {
    let damaged = |error: toml::de::Error| ReadinessError(error.to_string());
    let questions: Questions = toml::from_str(include_str!("../../readiness/questions.toml")).map_err(damaged)?;
    let facts = match provider.trim().to_ascii_lowercase().as_str() {
        "aws" | "amazon" => Some(include_str!("../../readiness/aws.toml")),
        "azure" | "microsoft" => Some(include_str!("../../readiness/azure.toml")),
        "google" | "gcp" | "google-cloud" => Some(include_str!("../../readiness/google.toml")),
        _ => None,
    };
    let facts: Facts = match facts {
        Some(text) => toml::from_str(text).map_err(damaged)?,
        None => Facts { name: provider.trim().to_owned(), fact: Vec::new() },
    };
    if let Some(stray) = facts.fact.iter().find(|fact| questions.question.iter().all(|question| question.id != fact.question)) {
        return Err(ReadinessError(format!("a fact names the unknown question {:?}", stray.question)));
    }
    let items = questions
        .question
        .into_iter()
        .map(|question| {
            let known = facts.fact.iter().filter(|fact| fact.question == question.id).cloned().collect();
            Item { question, known }
        })
        .collect();
    Ok(Questionnaire { provider: facts.name, regulation: DATA_ACT_URL, items })
}

/// The articles as one text: `Art. 25(2)(e), 30(5)`.
fn articles(question: &Question) -> String {
    format!("Art. {}", question.articles.join(", "))
}

/// The questionnaire as Markdown, with room for answers.
pub fn to_markdown(questionnaire: &Questionnaire) -> String {
    let mut text = format!("# Exit readiness: questions for {}\n\n", markdown(&questionnaire.provider));
    let _ = writeln!(
        text,
        "{} questions. Articles are of [Regulation (EU) 2023/2854]({}), the Data Act, unless another text is named. This is not legal advice.",
        questionnaire.items.len(),
        questionnaire.regulation
    );
    let mut topic = "";
    for (index, item) in questionnaire.items.iter().enumerate() {
        if item.question.topic != topic {
            topic = &item.question.topic;
            let _ = write!(text, "\n## {}\n", markdown(topic));
        }
        let question = &item.question;
        let _ = write!(text, "\n### {}. {}\n\n", index + 1, question.question);
        let _ = writeln!(text, "*{}*\n", articles(question));
        let _ = writeln!(text, "- **Why:** {}", question.why);
        let _ = writeln!(text, "- **A good answer:** {}", question.good);
        let _ = writeln!(text, "- **A bad answer:** {}", question.bad);
        if item.known.is_empty() {
            text.push_str("- **Published:** nothing on record; ask for the address.\n");
        }
        for fact in &item.known {
            let _ = writeln!(text, "- **Published:** {} ([source]({}), as of {})", fact.text, fact.url, fact.date);
        }
        text.push_str("- **Answer:** ______\n");
    }
    text
}

/// The questionnaire as one HTML file.
pub fn to_html(questionnaire: &Questionnaire) -> String {
    let title = format!("Exit readiness: questions for {}", questionnaire.provider);
    let mut page = Page::new(&title);
    page.lead(&format!(
        "{} questions to put in writing. Articles are of {}, the Data Act, unless another text is named. This is not legal advice.",
        questionnaire.items.len(),
        link(questionnaire.regulation, "Regulation (EU) 2023/2854"),
    ));
    let mut topic = "";
    for (index, item) in questionnaire.items.iter().enumerate() {
        if item.question.topic != topic {
            topic = &item.question.topic;
            page.push(&format!("<h2>{}</h2>", html(topic)));
        }
        let question = &item.question;
        let mut known = String::new();
        for fact in &item.known {
            let _ = write!(
                known,
                "<li>{} <span class=\"dim\">{}, as of {}</span></li>",
                html(&fact.text),
                link(&fact.url, "source"),
                html(&fact.date)
            );
        }
        if known.is_empty() {
            known.push_str("<li class=\"dim\">Nothing on record; ask for the address.</li>");
        }
        page.push(&format!(
            "<section class=\"card keep\"><h3>{}. {}</h3><p class=\"tag\">{}</p><dl><dt>Why</dt><dd>{}</dd><dt>A good answer</dt><dd>{}</dd><dt>A bad answer</dt><dd>{}</dd><dt>Published</dt><dd><ul>{known}</ul></dd><dt>Answer</dt><dd class=\"answer\"></dd></dl></section>",
            index + 1,
            html(&question.question),
            html(&articles(question)),
            html(&question.why),
            html(&question.good),
            html(&question.bad),
        ));
    }
    page.finish()
}
