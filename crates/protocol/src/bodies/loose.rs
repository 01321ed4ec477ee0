//! Values of body fields, read as loosely as fastjson reads them.
//!
//! Numbers may be written as strings and the reverse, `null` counts as absent, and so does a name that an enum
//! does not have. Clients rely on it: the Go client writes the numbers of `codeSet` as strings and empty sets as
//! `null`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A value that a body field can carry.
pub trait Loose<'de>: Sized {
    /// Reads the value; `None` when it counts as absent.
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error>;

    /// Whether the value is left out when written.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Reads a value through serde; `None` when it counts as absent.
pub struct Read<T>(pub Option<T>);

impl<'de, T: Loose<'de>> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Read)
    }
}

/// For `#[serde(deserialize_with = "…")]`: what counts as absent becomes the default.
pub fn or_default<'de, T: Loose<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(T::read(deserializer)?.unwrap_or_default())
}

impl<'de, T: Loose<'de>> Loose<'de> for Option<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(T::read(deserializer)?.map(Some))
    }

    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

/// A scalar of any kind, before the field decides what to make of it.
pub(crate) enum Scalar<'de> {
    Absent,
    Flag(bool),
    Integer(i64),
    Fraction(f64),
    Text(Cow<'de, str>),
}

impl<'de> Scalar<'de> {
    pub(crate) fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, a text or a boolean")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Scalar::Absent)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Scalar::Flag(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Scalar::Fraction(value as f64), Scalar::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Scalar::Fraction(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Owned(value.into())))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }
}

/// Text that fastjson takes for no value at all where it wants a number.
fn is_nothing(text: &str) -> bool {
    matches!(text, "" | "null" | "NULL")
}

impl<'de> Loose<'de> for i64 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let number = match Scalar::read(deserializer)? {
            Scalar::Absent => return Ok(None),
            Scalar::Flag(value) => i64::from(value),
            Scalar::Integer(value) => value,
            Scalar::Fraction(value) if value.abs() < 9e15 => value as i64,
            Scalar::Fraction(value) => return Err(D::Error::custom(format_args!("{value} is no 64-bit number"))),
            Scalar::Text(text) => match text.trim() {
                text if is_nothing(text) => return Ok(None),
                text => text.parse().map_err(|_| D::Error::custom(format_args!("`{text}` is no whole number")))?,
            },
        };
        Ok(Some(number))
    }
}

impl<'de> Loose<'de> for i32 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let Some(number) = i64::read(deserializer)? else { return Ok(None) };
        let number = i32::try_from(number);
        number.map(Some).map_err(|_| D::Error::custom("number does not fit 32 bits"))
    }
}

impl<'de> Loose<'de> for f64 {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let number = match Scalar::read(deserializer)? {
            Scalar::Absent => return Ok(None),
            Scalar::Flag(value) => f64::from(u8::from(value)),
            Scalar::Integer(value) => value as f64,
            Scalar::Fraction(value) => value,
            Scalar::Text(text) => match text.trim() {
                text if is_nothing(text) => return Ok(None),
                text => text.parse().map_err(|_| D::Error::custom(format_args!("`{text}` is no number")))?,
            },
        };
        Ok(Some(number))
    }
}

impl<'de> Loose<'de> for bool {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        let value = match Scalar::read(deserializer)? {
            Scalar::Absent => return Ok(None),
            Scalar::Flag(value) => value,
            Scalar::Integer(value) => value == 1,
            Scalar::Fraction(value) => value == 1.0,
            Scalar::Text(text) if is_nothing(&text) => return Ok(None),
            Scalar::Text(text) => text.eq_ignore_ascii_case("true") || text == "1",
        };
        Ok(Some(value))
    }
}

impl<'de> Loose<'de> for String {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Ok(match Scalar::read(deserializer)? {
            Scalar::Absent => None,
            Scalar::Flag(value) => Some(value.to_string()),
            Scalar::Integer(value) => Some(value.to_string()),
            Scalar::Fraction(value) => Some(value.to_string()),
            Scalar::Text(text) => Some(text.into_owned()),
        })
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for Vec<T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Loose<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Option<Vec<T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut read = Vec::new();
        while let Some(Read(value)) = list.next_element()? {
            read.extend(value);
        }
        Ok(Some(read))
    }
}

impl<'de, T: Loose<'de>> Loose<'de> for BTreeMap<String, T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(MapVisitor(PhantomData, |key| Ok(key.0.into_owned())))
    }
}

/// Keys arrive as text: bare ones were quoted by [`crate::lenient_json::normalise`]. They are written quoted, which
/// every reader takes.
impl<'de, T: Loose<'de>> Loose<'de> for BTreeMap<i64, T> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        deserializer.deserialize_any(MapVisitor(PhantomData, |key| {
            key.0.trim().parse().map_err(|_| format!("key `{}` is no whole number", key.0))
        }))
    }
}

struct MapVisitor<K, T>(PhantomData<T>, fn(Name<'_>) -> Result<K, String>);

impl<'de, K: Ord, T: Loose<'de>> Visitor<'de> for MapVisitor<K, T> {
    type Value = Option<BTreeMap<K, T>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some(name) = map.next_key::<Name<'de>>()? {
            let key = self.1(name).map_err(A::Error::custom)?;
            if let Read(Some(value)) = map.next_value()? {
                read.insert(key, value);
            }
        }
        Ok(Some(read))
    }
}

/// Name of a member, borrowed where it has no escapes.
pub struct Name<'de>(pub Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::read(deserializer)? {
            Scalar::Text(text) => Ok(Name(text)),
            _ => Err(D::Error::custom("a name is text")),
        }
    }
}

/// Reads an object member by member; `None` for `null`. `member` reads the value that belongs to the name, or
/// passes it over with [`skip`].
pub fn read_object<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    empty: T,
    member: impl MemberReader<'de, T>,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(ObjectVisitor { body: empty, member, lifetime: PhantomData })
}

/// Reads one member of an object under way.
pub trait MemberReader<'de, T> {
    /// Reads the value of the member `name` from `map` into `body`.
    fn read<A: MapAccess<'de>>(&self, body: &mut T, name: &str, map: &mut A) -> Result<(), A::Error>;
}

/// Passes over a member that nobody knows.
pub fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

struct ObjectVisitor<'de, T, M> {
    body: T,
    member: M,
    lifetime: PhantomData<&'de ()>,
}

impl<'de, T, M: MemberReader<'de, T>> Visitor<'de> for ObjectVisitor<'de, T, M> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        while let Some(name) = map.next_key::<Name<'de>>()? {
            self.member.read(&mut self.body, &name.0, &mut map)?;
        }
        Ok(Some(self.body))
    }
}
