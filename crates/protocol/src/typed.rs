//! Typed request and answer headers: what the named fields of a frame mean.
//!
//! A type is declared once by `headers!`, with the wire name of each field; reading borrows from the frame.

use std::borrow::Cow;

use crate::header::{Fields, Text};
use crate::writer::FrameWriter;

/// Why the fields of a header do not make the typed header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// A field that the request cannot do without is absent.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field says something that is not of its type.
    #[error("field `{name}` is `{value}`, which is no {expected}")]
    Invalid {
        /// Wire name of the field.
        name: &'static str,
        /// What it says, shortened.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// A header that is read from and written to named fields.
pub trait TypedHeader<'a>: Sized {
    /// Reads the header; fields nobody knows are passed over.
    fn decode(fields: &Fields<'a>) -> Result<Self, FieldError>;

    /// Adds the fields to a frame under way; absent ones are left out.
    fn encode<'o>(&self, frame: FrameWriter<'o>) -> FrameWriter<'o>;
}

/// A value that a named field can carry.
pub trait FieldValue<'a>: Sized {
    /// What the value is, for error texts.
    const EXPECTED: &'static str;

    /// Reads the value.
    fn read(text: Text<'a>) -> Option<Self>;

    /// The value of a field that is absent, where that is fine.
    fn absent() -> Option<Self> {
        None
    }

    /// Adds the field to a frame under way.
    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o>;
}

impl<'a> FieldValue<'a> for Cow<'a, str> {
    const EXPECTED: &'static str = "text";

    fn read(text: Text<'a>) -> Option<Self> {
        Some(text.resolve())
    }

    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame.text(name, self)
    }
}

impl FieldValue<'_> for i32 {
    const EXPECTED: &'static str = "32-bit number";

    fn read(text: Text<'_>) -> Option<Self> {
        text.integer()?.try_into().ok()
    }

    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame.integer(name, *self)
    }
}

impl FieldValue<'_> for i64 {
    const EXPECTED: &'static str = "64-bit number";

    fn read(text: Text<'_>) -> Option<Self> {
        text.integer()
    }

    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame.integer(name, *self)
    }
}

/// As Java's `Boolean.parseBoolean`: only `true`, in any case, is true.
impl FieldValue<'_> for bool {
    const EXPECTED: &'static str = "boolean";

    fn read(text: Text<'_>) -> Option<Self> {
        Some(text.raw().eq_ignore_ascii_case(b"true"))
    }

    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        frame.boolean(name, *self)
    }
}

impl<'a, T: FieldValue<'a>> FieldValue<'a> for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(text: Text<'a>) -> Option<Self> {
        T::read(text).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }

    fn write<'o>(&self, name: &str, frame: FrameWriter<'o>) -> FrameWriter<'o> {
        match self {
            Some(value) => value.write(name, frame),
            None => frame,
        }
    }
}

/// Reads one field, naming it in the error.
pub(crate) fn read_field<'a, T: FieldValue<'a>>(name: &'static str, text: Text<'a>) -> Result<T, FieldError> {
    T::read(text).ok_or_else(|| FieldError::Invalid {
        name,
        value: text.resolve().chars().take(40).collect(),
        expected: T::EXPECTED,
    })
}

/// Declares typed headers. Each field has a type, its wire name, other wire names that are read too, and, after
/// `or`, the value that stands for an absent field.
macro_rules! headers {
    ($($(#[$meta:meta])* $name:ident $(<$life:lifetime>)? {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $wire:literal $(| $alias:literal)* $(or $default:expr)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name $(<$life>)? {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        headers!(@impl $name [$($life)?] { $($field: $type = $wire $(| $alias)* $(or $default)?,)* });
    )*};
    (@impl $name:ident [$life:lifetime] $body:tt) => {
        headers!(@body [$life] [$name<$life>] $body);
    };
    (@impl $name:ident [] $body:tt) => {
        headers!(@body ['a] [$name] $body);
    };
    (@body [$life:lifetime] [$self:ty] {
        $($field:ident: $type:ty = $wire:literal $(| $alias:literal)* $(or $default:expr)?,)*
    }) => {
        impl<$life> crate::typed::TypedHeader<$life> for $self {
            fn decode(fields: &crate::header::Fields<$life>) -> Result<Self, crate::typed::FieldError> {
                $(let mut $field: Option<$type> = None;)*
                for (name, value) in fields.iter() {
                    match name.raw() {
                        $(name if name == $wire.as_bytes() $(|| name == $alias.as_bytes())* => {
                            $field = Some(crate::typed::read_field($wire, value)?);
                        })*
                        _ => {}
                    }
                }
                Ok(Self {
                    $($field: match $field {
                        Some(value) => value,
                        None => headers!(@absent $wire, $type $(, $default)?),
                    },)*
                })
            }

            fn encode<'o>(&self, frame: crate::writer::FrameWriter<'o>) -> crate::writer::FrameWriter<'o> {
                $(let frame = crate::typed::FieldValue::write(&self.$field, $wire, frame);)*
                frame
            }
        }
    };
    (@absent $wire:literal, $type:ty, $default:expr) => { $default };
    (@absent $wire:literal, $type:ty) => {
        match <$type as crate::typed::FieldValue>::absent() {
            Some(value) => value,
            None => return Err(crate::typed::FieldError::Missing($wire)),
        }
    };
}
pub(crate) use headers;
