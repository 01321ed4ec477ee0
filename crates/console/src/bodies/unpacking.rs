//! Bodies that their senders packed: found by how they begin, unpacked up to a limit.

use std::io::{self, Read};

use lz4_flex::frame::FrameDecoder;
use ruzstd::decoding::StreamingDecoder;

/// Most bytes of an unpacked body, and of what unpacking it looks back at.
pub const UNPACKED_MAX: u64 = 8 * 1024 * 1024;

/// What is inside of a packed body, and what it was packed with. A body that only begins like a packed one has nothing
/// inside.
pub fn unpacked(body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let (name, inside) = match body {
        [0x1f, 0x8b, 8, ..] => ("gzip", read(flate2::read::GzDecoder::new(body))),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => ("zlib", read(flate2::read::ZlibDecoder::new(body))),
        [0x04, 0x22, 0x4d, 0x18, ..] => ("lz4", read(FrameDecoder::new(body))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => ("zstd", zstd(body)),
        _ => return None,
    };
    Some((name, inside.ok()?))
}

fn zstd(body: &[u8]) -> io::Result<Vec<u8>> {
    read(StreamingDecoder::new_with_max_window_size(body, UNPACKED_MAX).map_err(io::Error::other)?)
}

fn read(packed: impl Read) -> io::Result<Vec<u8>> {
    let mut inside = Vec::new();
    packed.take(UNPACKED_MAX).read_to_end(&mut inside)?;
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut packer = lz4_flex::frame::FrameEncoder::new(Vec::new());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
    }

    type Packer = (&'static str, fn(&[u8]) -> Vec<u8>);

    const PACKERS: [Packer; 4] = [("gzip", gzip), ("zlib", zlib), ("lz4", lz4), ("zstd", zstd)];

    #[test]
    fn what_grows_without_end_is_cut() {
        let zeros = vec![0; UNPACKED_MAX as usize + 1];
        for (name, pack) in PACKERS {
            let packed = pack(&zeros);
            assert!(packed.len() < zeros.len() / 50, "{name}: {}", packed.len());
            assert_eq!(unpacked(&packed).unwrap().1.len(), UNPACKED_MAX as usize, "{name}");
        }
    }

    #[test]
    fn a_frame_that_wants_to_look_back_too_far_is_left_as_it_is() {
        // Window descriptor 0x88: 128 MiB.
        assert_eq!(unpacked(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00]), None);
        assert_eq!(unpacked(&[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x01, 0x00, 0x00]), Some(("zstd", Vec::new())));
    }

    proptest! {
        #[test]
        fn what_was_packed_is_unpacked(bytes in prop::collection::vec(any::<u8>(), 0..500), times in 1_usize..10) {
            let bytes = bytes.repeat(times);
            for (name, pack) in PACKERS {
                prop_assert_eq!(unpacked(&pack(&bytes)), Some((name, bytes.clone())));
            }
        }

        #[test]
        fn damaged_bodies_unpack_to_something_or_nothing(
            bytes in prop::collection::vec(0_u8..4, 0..500),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            rest in any::<prop::sample::Index>(),
        ) {
            for (_, pack) in PACKERS {
                let mut packed = pack(&bytes);
                for (at, byte) in &damage {
                    let at = at.index(packed.len());
                    packed[at] = *byte;
                }
                let whole = packed.len();
                for body in [&packed[..], &packed[..rest.index(whole)]] {
                    let inside = unpacked(body).map_or(0, |(_, inside)| inside.len());
                    prop_assert!(inside <= UNPACKED_MAX as usize);
                }
            }
        }

        #[test]
        fn noise_after_a_known_beginning_does_no_harm(noise in prop::collection::vec(any::<u8>(), 0..300)) {
            for begin in [&[0x1f, 0x8b, 8][..], &[0x78, 0x9c], &[0x04, 0x22, 0x4d, 0x18], &[0x28, 0xb5, 0x2f, 0xfd]] {
                let _ = unpacked(&[begin, &noise].concat());
            }
        }
    }
}
