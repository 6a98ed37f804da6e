//! An invoice as a PDF in A4, with text that can be selected and the standard fonts that every viewer has.
//!
//! **Invariant:** no letter is lost. What the fonts do not have is written as its code point and carries the letter
//! itself as the text to copy; a sentence on the page says so.

mod letters;

use letters::{Run, has_foreign, runs, width, wrap};
use pdf_writer::{Content, Date, Finish, Name, Pdf, Rect, Ref, Str, TextStr};

use super::{Invoice, InvoiceError, InvoiceKind, Party, about, amount_text, count_text, per_text, summary};
use crate::calendar::date_text;

const PAGE_WIDTH: f32 = 595.0;
const PAGE_HEIGHT: f32 = 842.0;
const LEFT: f32 = 50.0;
const RIGHT: f32 = 545.0;
const TOP: f32 = 790.0;
const BOTTOM: f32 = 70.0;
/// Where the columns of numbers end.
const QUANTITY: f32 = 330.0;
const PRICE: f32 = 440.0;
const DESCRIPTION_WIDTH: f32 = 180.0;
const SIZE: f32 = 9.0;
const LEADING: f32 = 13.0;
/// More rows than this are a fault of whoever made the invoice; it has a JSON form.
const TEXT_LINES_MAX: usize = 200_000;

const FOREIGN_NOTE: &str =
    "Letters written as [U+0000] are not in the fonts of this document. Copied text and the HTML page of this invoice have them.";

/// The file's bytes. Fails if the invoice does not add up.
pub fn render(invoice: &Invoice) -> Result<Vec<u8>, InvoiceError> {
    invoice.check()?;
    let mut paper = Paper::new();
    heading(&mut paper, invoice);
    table_head(&mut paper, invoice);
    for line in &invoice.lines {
        let (records, list) = match line.records {
            0 => (String::new(), String::new()),
            records => (format!("{} records", count_text(records)), format!("price list {}", line.price_number)),
        };
        paper.rule_above();
        paper.row(invoice, &about(line), [&records, &list, &amount_text(line.amount)], Look::PLAIN);
        for part in &line.parts {
            paper.row(invoice, &part.unit, [&count_text(part.quantity), &per_text(part), ""], Look::SOFT);
        }
    }
    paper.rule_above();
    for (text, amount, strong) in summary(invoice) {
        paper.row(invoice, &text, ["", "", &amount_text(amount)], if strong { Look::STRONG } else { Look::PLAIN });
    }
    paper.down(LEADING);
    for line in invoice.note.lines() {
        paper.paragraph(line);
    }
    if paper.foreign {
        paper.paragraph(FOREIGN_NOTE);
    }
    Ok(paper.finish(invoice))
}

/// How a row of the table looks.
#[derive(Clone, Copy)]
struct Look {
    bold: bool,
    gray: f32,
    indent: f32,
}

impl Look {
    const PLAIN: Look = Look { bold: false, gray: 0.0, indent: 0.0 };
    const SOFT: Look = Look { bold: false, gray: 0.35, indent: 12.0 };
    const STRONG: Look = Look { bold: true, gray: 0.0, indent: 0.0 };
}

/// The pages, and where writing stands on the last one.
struct Paper {
    pages: Vec<Content>,
    page: Content,
    y: f32,
    lines: usize,
    foreign: bool,
}

impl Paper {
    fn new() -> Self {
        Self { pages: Vec::new(), page: Content::new(), y: TOP, lines: 0, foreign: false }
    }

    fn down(&mut self, points: f32) {
        self.y -= points;
    }

    /// Begins a new page if so many points are not left on this one; whether it did.
    fn need(&mut self, points: f32) -> bool {
        if self.y - points >= BOTTOM {
            return false;
        }
        self.pages.push(std::mem::replace(&mut self.page, Content::new()));
        self.y = TOP;
        true
    }

    fn text(&mut self, x: f32, text: &str, size: f32, look: Look) {
        self.foreign |= has_foreign(text);
        write_text(&mut self.page, (x, self.y), text, size, look);
    }

    fn text_right(&mut self, right: f32, text: &str, look: Look) {
        self.text(right - width(text, SIZE, look.bold), text, SIZE, look);
    }

    fn rule_above(&mut self) {
        let y = self.y + LEADING - 3.0;
        self.page.save_state().set_line_width(0.5).set_stroke_gray(0.75).move_to(LEFT, y).line_to(RIGHT, y).stroke().restore_state();
    }

    fn row(&mut self, invoice: &Invoice, description: &str, numbers: [&str; 3], look: Look) {
        for (index, text) in wrap(description, DESCRIPTION_WIDTH - look.indent, SIZE, look.bold).iter().enumerate() {
            self.lines += 1;
            if self.lines > TEXT_LINES_MAX {
                return;
            }
            if self.need(LEADING) {
                table_head(self, invoice);
            }
            self.text(LEFT + look.indent, text, SIZE, look);
            if index == 0 {
                for (right, number) in [QUANTITY, PRICE, RIGHT].into_iter().zip(numbers) {
                    self.text_right(right, number, look);
                }
            }
            self.down(LEADING);
        }
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(text, RIGHT - LEFT, SIZE, false) {
            self.lines += 1;
            if self.lines > TEXT_LINES_MAX {
                return;
            }
            self.need(LEADING);
            self.text(LEFT, &line, SIZE, Look { indent: 0.0, ..Look::SOFT });
            self.down(LEADING);
        }
    }

    fn finish(mut self, invoice: &Invoice) -> Vec<u8> {
        self.pages.push(self.page);
        let (catalog, tree, info) = (Ref::new(1), Ref::new(2), Ref::new(3));
        let fonts = [("R", 4, "Helvetica"), ("B", 5, "Helvetica-Bold"), ("RX", 6, "Helvetica"), ("BX", 7, "Helvetica-Bold")];
        let page_ref = |index: usize| Ref::new(10 + 2 * i32::try_from(index).unwrap_or(i32::MAX / 4));
        let count = self.pages.len();
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(tree).lang(TextStr("en"));
        pdf.pages(tree).kids((0..count).map(page_ref)).count(i32::try_from(count).unwrap_or(i32::MAX));
        let title = invoice.title();
        let mut about = pdf.document_info(info);
        about.title(TextStr(&title)).author(TextStr(&invoice.seller.name)).producer(TextStr("Freehold"));
        about.creation_date(date(invoice));
        about.finish();
        for (name, id, base) in fonts {
            let mut font = pdf.type1_font(Ref::new(id));
            font.base_font(Name(base.as_bytes()));
            if name.len() == 1 {
                font.encoding_predefined(Name(b"WinAnsiEncoding"));
            } else {
                let names = letters::EXTRA.iter().map(|(_, glyph)| Name(glyph.as_bytes()));
                font.encoding_custom().base_encoding(Name(b"WinAnsiEncoding")).differences().consecutive(letters::EXTRA_FIRST, names);
            }
        }
        for (index, mut content) in self.pages.into_iter().enumerate() {
            let footer = format!("{title} · page {} of {count}", index + 1);
            write_text(&mut content, (LEFT, 40.0), &footer, 8.0, Look { indent: 0.0, ..Look::SOFT });
            let (id, stream) = (page_ref(index), Ref::new(page_ref(index).get() + 1));
            let mut page = pdf.page(id);
            page.parent(tree).media_box(Rect::new(0.0, 0.0, PAGE_WIDTH, PAGE_HEIGHT)).contents(stream);
            let mut resources = page.resources();
            let mut dict = resources.fonts();
            for (name, id, _) in fonts {
                dict.pair(Name(name.as_bytes()), Ref::new(id));
            }
            dict.finish();
            resources.finish();
            page.finish();
            pdf.stream(stream, &content.finish());
        }
        pdf.finish()
    }
}

fn heading(paper: &mut Paper, invoice: &Invoice) {
    for line in wrap(&invoice.title(), RIGHT - LEFT, 18.0, true) {
        paper.text(LEFT, &line, 18.0, Look::STRONG);
        paper.down(24.0);
    }
    let mut facts = vec![("Date", date_text(invoice.issued_at)), ("Period", invoice.month.to_string())];
    facts.extend(invoice.due_at.map(|due| ("Due", date_text(due))));
    facts.push(("State", invoice.state.as_str().to_owned()));
    if let InvoiceKind::CreditNote { of_number, .. } = &invoice.kind {
        facts.push(("For invoice", of_number.clone()));
    }
    for (name, value) in facts {
        paper.text(LEFT, name, SIZE, Look { indent: 0.0, ..Look::SOFT });
        paper.text(LEFT + 70.0, &value, SIZE, Look::PLAIN);
        paper.down(LEADING);
    }
    paper.down(LEADING);
    parties(paper, &invoice.seller, &invoice.buyer);
    paper.down(LEADING);
}

/// Seller and buyer, side by side.
fn parties(paper: &mut Paper, seller: &Party, buyer: &Party) {
    const WIDTH: f32 = 230.0;
    let column = |role: &str, party: &Party| {
        let mut rows = vec![(role.to_owned(), Look { indent: 0.0, ..Look::SOFT })];
        rows.extend(wrap(&party.name, WIDTH, SIZE, true).into_iter().map(|line| (line, Look::STRONG)));
        let lines = party.lines.iter().flat_map(|line| wrap(line, WIDTH, SIZE, false));
        rows.extend(lines.map(|line| (line, Look::PLAIN)));
        rows
    };
    let (left, right) = (column("From", seller), column("To", buyer));
    for index in 0..left.len().max(right.len()) {
        paper.lines += 1;
        if paper.lines > TEXT_LINES_MAX {
            return;
        }
        paper.need(LEADING);
        for (x, rows) in [(LEFT, &left), (LEFT + WIDTH + 20.0, &right)] {
            if let Some((text, look)) = rows.get(index) {
                paper.text(x, text, SIZE, *look);
            }
        }
        paper.down(LEADING);
    }
}

fn table_head(paper: &mut Paper, invoice: &Invoice) {
    let look = Look { bold: true, gray: 0.35, indent: 0.0 };
    paper.need(3.0 * LEADING);
    paper.text(LEFT, "Description", SIZE, look);
    for (right, text) in [(QUANTITY, "Quantity"), (PRICE, "Unit price"), (RIGHT, &format!("Amount, {}", invoice.currency))] {
        paper.text_right(right, text, look);
    }
    paper.down(LEADING + 2.0);
}

fn write_text(page: &mut Content, (x, y): (f32, f32), text: &str, size: f32, look: Look) {
    page.begin_text().set_fill_gray(look.gray).next_line(x, y);
    for run in runs(text) {
        let font: &[u8] = match (&run, look.bold) {
            (Run::Extra(_), false) => b"RX",
            (Run::Extra(_), true) => b"BX",
            (_, false) => b"R",
            (_, true) => b"B",
        };
        page.set_font(Name(font), size);
        match run {
            Run::Plain(bytes) | Run::Extra(bytes) => {
                page.show(Str(&bytes));
            }
            Run::Foreign { shown, letter } => {
                let mut marked = page.begin_marked_content_with_properties(Name(b"Span"));
                marked.properties().actual_text(TextStr(letter.encode_utf8(&mut [0; 4])));
                marked.finish();
                page.show(Str(shown.as_bytes())).end_marked_content();
            }
        }
    }
    page.end_text();
}

fn date(invoice: &Invoice) -> Date {
    let text = date_text(invoice.issued_at);
    let mut parts = text.split('-');
    let year = parts.next().and_then(|year| year.parse().ok()).unwrap_or(1970);
    let mut part = || parts.next().and_then(|part| part.parse().ok()).unwrap_or(1);
    Date::new(year).month(part()).day(part())
}
