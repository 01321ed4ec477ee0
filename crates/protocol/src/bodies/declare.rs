//! How body types are declared.

/// Declares bodies. Each field has a type, its wire name, other wire names that are read too, and, after `or`, the
/// value that stands for an absent field (otherwise the default of its type). Fields are written in declared order.
macro_rules! bodies {
    ($($(#[$meta:meta])* $name:ident {
        $($(#[$field_meta:meta])* $field:ident: $type:ty = $wire:literal $(| $alias:literal)* $(or $default:expr)?,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: bodies!(@default $($default)?),)* }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut map = serializer.serialize_map(None)?;
                $(if !crate::bodies::loose::Loose::is_absent(&self.$field) {
                    map.serialize_entry($wire, &self.$field)?;
                })*
                map.end()
            }
        }

        impl<'de> crate::bodies::loose::Loose<'de> for $name {
            fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                struct Members;
                impl<'de> crate::bodies::loose::MemberReader<'de, $name> for Members {
                    fn read<A: serde::de::MapAccess<'de>>(
                        &self,
                        body: &mut $name,
                        name: &str,
                        map: &mut A,
                    ) -> Result<(), A::Error> {
                        match name {
                            $($wire $(| $alias)* => {
                                if let crate::bodies::loose::Read(Some(value)) = map.next_value()? {
                                    body.$field = value;
                                }
                                Ok(())
                            })*
                            _ => crate::bodies::loose::skip(map),
                        }
                    }
                }
                crate::bodies::loose::read_object(deserializer, Self::default(), Members)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                crate::bodies::loose::or_default(deserializer)
            }
        }
    )*};
    (@default $default:expr) => { $default };
    (@default) => { Default::default() };
}
pub(crate) use bodies;

/// Declares enums that travel by name. A name that the enum does not have counts as absent; a number is the place
/// of the name in the list, as fastjson takes it.
macro_rules! names {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $wire:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// Every value, in upstream's order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name that travels.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $wire,)*
                }
            }

            /// The value of that name.
            pub fn from_name(name: &str) -> Option<$name> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.name())
            }
        }

        impl<'de> crate::bodies::loose::Loose<'de> for $name {
            fn read<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
                use crate::bodies::loose::Scalar;
                Ok(match Scalar::read(deserializer)? {
                    Scalar::Text(name) => Self::from_name(&name),
                    Scalar::Integer(place) => usize::try_from(place).ok().and_then(|at| Self::ALL.get(at).copied()),
                    _ => None,
                })
            }
        }
    )*};
}
pub(crate) use names;
