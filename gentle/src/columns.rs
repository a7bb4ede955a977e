//! Text in the columns of a terminal.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Returns how many columns the text takes at most.
///
/// Some terminals show several characters as one emoji, and others show them apart. The result is for those that need more columns.
pub(crate) fn width(text: &str) -> usize {
    let apart: usize = text.chars().filter_map(UnicodeWidthChar::width).sum();
    apart.max(UnicodeWidthStr::width(text))
}

/// Returns the text, or as much of it as fits into `columns` with a mark that it was cut.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let ends = text.char_indices().map(|(at, _)| at);
    let fits = |end: &usize| width(&text[..*end]) < columns;
    format!("{}~", &text[..ends.take_while(fits).last().unwrap_or(0)])
}

/// Returns the text with spaces behind it, up to `columns`.
pub(crate) fn to_the_left(text: &str, columns: usize) -> String {
    format!("{text}{}", spaces(text, columns))
}

/// Returns the text with spaces before it, up to `columns`.
pub(crate) fn to_the_right(text: &str, columns: usize) -> String {
    format!("{}{text}", spaces(text, columns))
}

fn spaces(text: &str, columns: usize) -> String {
    " ".repeat(columns.saturating_sub(width(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_characters_take_two_columns_and_accents_none() {
        assert_eq!([width("ab"), width("検索"), width("e\u{301}"), width("")], [2, 4, 1, 0]);
        // A family of three, which a terminal may show as three emoji.
        assert_eq!(width("👨\u{200d}👩\u{200d}👧"), 6);
    }

    #[test]
    fn a_text_is_cut_to_the_columns_and_not_within_a_character() {
        let cuts = [4, 3, 2, 1].map(|columns| cut("検索", columns));
        assert_eq!(cuts, ["検索", "検~", "~", "~"]);
        assert_eq!((cut("soup", 4), cut("soup", 3)), ("soup".to_owned(), "so~".to_owned()));
    }

    #[test]
    fn a_text_is_filled_up_to_the_columns() {
        assert_eq!((to_the_left("検", 4), to_the_right("検", 4)), ("検  ".into(), "  検".into()));
        assert_eq!(to_the_left("検索", 3), "検索");
    }
}
