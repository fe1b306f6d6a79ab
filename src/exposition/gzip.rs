//! gzip at level 1, with a compressor that is kept: its tables are larger than the page.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// RFC 1952: magic, deflate, no flags, no time, fastest, unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];
/// What the output grows by when a page turns out larger than any before.
const GROW: usize = 16 * 1024;

/// A kept compressor.
///
/// *Cost*: no allocation once its output buffer has the size of the largest page seen.
#[derive(Debug)]
pub struct Gzip {
    deflate: Compress,
    out: Vec<u8>,
}

impl Default for Gzip {
    fn default() -> Gzip {
        Gzip {
            deflate: Compress::new(Compression::fast(), false),
            out: Vec::new(),
        }
    }
}

impl Gzip {
    /// Compresses `text`; `None` if the compressor fails, which it does on no input known.
    pub fn compress(&mut self, text: &[u8]) -> Option<&[u8]> {
        self.deflate.reset();
        self.out.clear();
        self.out.extend_from_slice(&HEADER);
        loop {
            let done = usize::try_from(self.deflate.total_in()).ok()?;
            let rest = text.get(done..)?;
            if self.out.capacity() - self.out.len() < GROW {
                self.out.reserve(GROW);
            }
            match self
                .deflate
                .compress_vec(rest, &mut self.out, FlushCompress::Finish)
                .ok()?
            {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => self.out.reserve(GROW),
            }
        }
        let mut crc = Crc::new();
        crc.update(text);
        self.out.extend_from_slice(&crc.sum().to_le_bytes());
        self.out.extend_from_slice(&crc.amount().to_le_bytes());
        Some(&self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::Gzip;
    use flate2::read::GzDecoder;
    use std::io::Read;

    #[test]
    fn what_is_compressed_unpacks_to_the_same_text_every_time() {
        let mut gzip = Gzip::default();
        for size in [0, 1, 50_000, 17, 1_000_000] {
            let text: Vec<u8> = (0..size)
                .map(|n: u32| (n % 251) as u8 ^ (n / 997) as u8)
                .collect();
            let packed = gzip.compress(&text).unwrap();
            let mut back = Vec::new();
            GzDecoder::new(packed).read_to_end(&mut back).unwrap();
            assert_eq!(back, text);
        }
    }
}
