//! A table that comes with the program and its outline, which build.rs has laid down -> rows. Where the rows of a file of
//! one's own are read from TOML, these are read without it: a program that judges one mail starts in half the time.
//!
//! An outline is what the reader of TOML makes of a text: the values one after the other, each as an octet that tells its
//! kind, where it stands, and how long it is. Behind a table follow the number of its keys, and each key as a string
//! with its value behind it; behind a list the number of its values, and these. A string is what stands there, or what
//! stands there between quotation marks; one with escapes is spelled out, its length before it.

use std::ops::Range;

use serde::{
    de::{
        self, Deserialize, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::{BorrowedStrDeserializer, Error},
    },
    forward_to_deserialize_any,
};
use serde_spanned::de::{SpannedDeserializer, is_spanned};

/// The rows of a table.
///
/// # Errors
/// They are not what `T` has a place for. TOML's own reader says where.
pub(super) fn read<'de, T: Deserialize<'de>>(text: &'de str, outline: &'de [u8]) -> Result<T, Error> {
    T::deserialize(&mut Reader { text, outline })
}

/// What is left of an outline.
struct Reader<'de> {
    text: &'de str,
    outline: &'de [u8],
}

impl<'de> Reader<'de> {
    fn octet(&mut self) -> Result<u8, Error> {
        let (octet, rest) = self.outline.split_first().ok_or_else(|| Error::custom("the outline ends"))?;
        self.outline = rest;
        Ok(*octet)
    }

    fn number(&mut self) -> Result<usize, Error> {
        let (mut number, mut shift) = (0, 0);
        loop {
            let octet = usize::from(self.octet()?);
            number |= (octet & 0x7f) << shift;
            shift += 7;
            if octet < 0x80 {
                return Ok(number);
            }
        }
    }

    fn head(&mut self) -> Result<(u8, Range<usize>), Error> {
        let (kind, start, len) = (self.octet()?, self.number()?, self.number()?);
        Ok((kind, start..start + len))
    }

    fn string(&mut self, kind: u8, place: Range<usize>) -> Result<&'de str, Error> {
        let found = match kind {
            b'=' => self.text.get(place),
            b'"' => self.text.get(place.start + 1..place.end - 1),
            b'\\' => {
                let len = self.number()?;
                let (text, rest) = self.outline.split_at_checked(len).unwrap_or_default();
                self.outline = rest;
                str::from_utf8(text).ok()
            }
            _ => None,
        };
        found.ok_or_else(|| Error::custom("expected a string"))
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let (kind, place) = self.head()?;
        match kind {
            b'{' => {
                let left = self.number()?;
                visitor.visit_map(Values { reader: self, left })
            }
            b'[' => {
                let left = self.number()?;
                visitor.visit_seq(Values { reader: self, left })
            }
            b'1' => {
                let number = self.text.get(place).and_then(|text| text.parse().ok());
                visitor.visit_i64(number.ok_or_else(|| Error::custom("expected a number"))?)
            }
            b'?' => visitor.visit_bool(self.text.get(place) == Some("true")),
            _ => visitor.visit_borrowed_str(self.string(kind, place)?),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        if !is_spanned(name) {
            return self.deserialize_any(visitor);
        }
        let (_, place) = Reader { ..*self }.head()?;
        visitor.visit_map(SpannedDeserializer::new(self, place))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let (kind, place) = self.head()?;
        visitor.visit_enum(BorrowedStrDeserializer::new(self.string(kind, place)?))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, Error> for &mut Reader<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Those of a table or a list that are not read yet.
struct Values<'r, 'de> {
    reader: &'r mut Reader<'de>,
    left: usize,
}

impl<'de> MapAccess<'de> for Values<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let (kind, place) = self.reader.head()?;
        seed.deserialize(BorrowedStrDeserializer::new(self.reader.string(kind, place)?)).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for Values<'_, 'de> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
