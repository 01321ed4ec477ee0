//! Values of binary formats as indented text, written while they are read. How deep values may lie in each other, and
//! how long the text gets, is limited; so a few bytes that claim to be much cost little.

use super::{SHOWN_MAX, floor_char_boundary};

/// Most values that lie in each other.
const DEPTH_MAX: usize = 64;

/// Most bytes of a value that is bytes; each takes two characters.
const BYTES_MAX: usize = 256;

/// Why bytes are not of the format that they were read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// They end inside of a value that begins here.
    Ends(usize),
    /// Nothing begins with the byte at this place.
    Unknown(usize),
    /// Values lie too deep inside of each other.
    TooDeep,
    /// The value is over, but there are more bytes from here on.
    Rest(usize),
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The text is as long as it may get.
    Full,
    /// There is nothing to go on with.
    Flaw(Flaw),
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Stop {
        Stop::Flaw(flaw)
    }
}

/// What bytes turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlined {
    /// The text.
    pub text: String,
    /// Bytes that it tells of, where it does not tell of all.
    pub read: Option<usize>,
}

/// Bytes that are read from front to back.
#[derive(Clone, Debug)]
pub struct Input<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Input<'b> {
    /// All of these bytes.
    pub fn new(bytes: &'b [u8]) -> Input<'b> {
        Input { bytes, at: 0 }
    }

    /// Bytes that were read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Whether all were read.
    pub fn is_at_end(&self) -> bool {
        self.bytes.len() <= self.at
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// The next byte.
    pub fn byte(&mut self) -> Result<u8, Flaw> {
        self.take(1).map(|taken| taken[0])
    }

    /// The next bytes, so many.
    pub fn take(&mut self, count: u64) -> Result<&'b [u8], Flaw> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(count).ok().filter(|count| *count <= rest.len()).ok_or(Flaw::Ends(self.at))?;
        self.at += count;
        Ok(&rest[..count])
    }

    /// A number of so many bytes, at most eight, the highest first.
    pub fn number(&mut self, bytes: u32) -> Result<u64, Flaw> {
        let taken = self.take(u64::from(bytes))?;
        Ok(taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

/// Text that is being written.
#[derive(Debug, Default)]
pub struct Outline {
    text: String,
    depth: usize,
    indent: usize,
}

impl Outline {
    /// Reads all of `bytes` by `read`, which writes what it reads.
    pub fn of(
        bytes: &[u8],
        read: impl FnOnce(&mut Input<'_>, &mut Outline) -> Result<(), Stop>,
    ) -> Result<Outlined, Flaw> {
        let (mut input, mut out) = (Input::new(bytes), Outline::default());
        match read(&mut input, &mut out) {
            Ok(()) if input.is_at_end() => Ok(Outlined { text: out.text, read: None }),
            Ok(()) => Err(Flaw::Rest(input.at())),
            Err(Stop::Full) => Ok(Outlined { text: out.text, read: Some(input.at()) }),
            Err(Stop::Flaw(flaw)) => Err(flaw),
        }
    }

    /// Adds text as it is.
    pub fn push(&mut self, text: &str) -> Result<(), Stop> {
        let room = SHOWN_MAX.saturating_sub(self.text.len());
        self.text.push_str(&text[..floor_char_boundary(text, room)]);
        if text.len() <= room { Ok(()) } else { Err(Stop::Full) }
    }

    /// Adds text in quotes.
    pub fn quoted(&mut self, text: &str) -> Result<(), Stop> {
        // No more than fits is escaped.
        let head = &text[..floor_char_boundary(text, SHOWN_MAX)];
        self.push(&serde_json::Value::from(head).to_string())
    }

    /// Adds bytes as hex.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        self.push("h'")?;
        for byte in bytes.iter().take(BYTES_MAX) {
            self.push(&format!("{byte:02x}"))?;
        }
        self.push("'")?;
        if BYTES_MAX < bytes.len() { self.push(&format!(" … {} bytes", bytes.len())) } else { Ok(()) }
    }

    /// Adds text in quotes if it is text, else bytes as hex.
    pub fn quoted_or_bytes(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.quoted(text),
            Err(_) => self.bytes(bytes),
        }
    }

    /// Goes on in a new line.
    pub fn line(&mut self) -> Result<(), Stop> {
        self.push("\n")?;
        (0..self.indent).try_for_each(|_| self.push("  "))
    }

    /// Whether another value can lie inside of this one.
    pub fn can_go_deeper(&self) -> bool {
        self.depth < DEPTH_MAX
    }

    /// Lines begin further in from here on, for what lies inside of a value.
    pub fn deeper(&mut self) -> Result<(), Stop> {
        if !self.can_go_deeper() {
            return Err(Flaw::TooDeep.into());
        }
        self.depth += 1;
        self.indent += 1;
        Ok(())
    }

    /// Lines begin where they did before the last [`Outline::deeper`].
    pub fn back(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        self.indent = self.indent.saturating_sub(1);
    }

    /// Writes what lies inside of a value.
    pub fn inside(&mut self, write: impl FnOnce(&mut Outline) -> Result<(), Stop>) -> Result<(), Stop> {
        if !self.can_go_deeper() {
            return Err(Flaw::TooDeep.into());
        }
        self.depth += 1;
        write(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// Writes values between brackets, each in a line of its own, as long as `next` gives one.
    pub fn list(
        &mut self,
        [open, separator, close]: [&str; 3],
        mut next: impl FnMut(&mut Outline) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        self.push(open)?;
        self.indent += 1;
        let before = self.text.len();
        self.inside(|out| {
            loop {
                let end = out.text.len();
                if end != before {
                    out.push(separator)?;
                }
                out.line()?;
                if !next(out)? {
                    out.text.truncate(end);
                    return Ok(());
                }
            }
        })?;
        self.indent -= 1;
        if self.text.len() != before {
            self.line()?;
        }
        self.push(close)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_an_item_a_line() {
        let mut items = ["1", "2"].iter();
        let read = |_: &mut Input<'_>, out: &mut Outline| {
            out.list(["[", ",", "]"], |out| {
                let Some(item) = items.next() else { return Ok(false) };
                out.push(item).map(|()| true)
            })?;
            out.list(["{", ",", "}"], |_| Ok(false))
        };
        assert_eq!(Outline::of(&[], read).unwrap().text, "[\n  1,\n  2\n]{}");
    }

    #[test]
    fn text_that_gets_too_long_is_cut_between_characters() {
        let read = |input: &mut Input<'_>, out: &mut Outline| {
            loop {
                input.byte()?;
                out.push("é€")?;
            }
        };
        let cut = Outline::of(&vec![0; SHOWN_MAX], read).unwrap();
        assert!((SHOWN_MAX - 2..=SHOWN_MAX).contains(&cut.text.len()));
        assert_eq!(cut.read, Some(SHOWN_MAX / 5 + 1));
    }

    #[test]
    fn bytes_that_are_missing_are_no_value() {
        let mut input = Input::new(&[1, 2, 3]);
        assert_eq!(input.number(2), Ok(0x0102));
        assert_eq!(input.number(2), Err(Flaw::Ends(2)));
        assert_eq!(input.take(u64::MAX), Err(Flaw::Ends(2)));
        assert_eq!((input.peek(), input.byte(), input.byte()), (Some(3), Ok(3), Err(Flaw::Ends(3))));
    }
}
