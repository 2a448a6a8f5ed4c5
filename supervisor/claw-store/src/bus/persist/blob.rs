//! Short lists of numbers as bytes: seven bits each, the lowest first.

use crate::bus::delivery::{BatchId, LeaseId};
use crate::bus::group::{InFlight, Ranges};

pub(super) fn ranges(ranges: &Ranges) -> Vec<u8> {
    let (mut bytes, mut last) = (Vec::new(), 0);
    for (start, end) in ranges.iter() {
        put(&mut bytes, start - last);
        put(&mut bytes, end - start);
        last = end;
    }
    bytes
}

pub(super) fn read_ranges(bytes: &[u8]) -> Option<Ranges> {
    let (mut ranges, mut bytes, mut last) = (Ranges::default(), bytes, 0_u64);
    while !bytes.is_empty() {
        let start = last.checked_add(take(&mut bytes)?)?;
        let end = start.checked_add(take(&mut bytes)?)?;
        ranges.insert(start, end);
        last = end;
    }
    Some(ranges)
}

/// Where the place in a batch stands, above the attempts.
const PLACE: u32 = 32;

/// A delivery of a batch has its place in it, from 1, above its attempts; others have nothing there.
pub(super) fn flying(flying: &[InFlight]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in flying {
        let place = one.batch.map_or(0, |batch| one.lease.0 - batch.0 + 1);
        put(&mut bytes, one.seq);
        put(&mut bytes, u64::from(one.attempts) | place << PLACE);
        put(&mut bytes, one.lease.0);
        put(&mut bytes, u64::from(one.replica));
    }
    bytes
}

pub(super) fn read_flying(bytes: &[u8]) -> Option<Vec<InFlight>> {
    let (mut flying, mut bytes) = (Vec::new(), bytes);
    while !bytes.is_empty() {
        let seq = take(&mut bytes)?;
        let counted = take(&mut bytes)?;
        let (attempts, place) = (counted & u64::from(u32::MAX), counted >> PLACE);
        let lease = LeaseId(take(&mut bytes)?);
        let batch = match place {
            0 => None,
            place => Some(BatchId((lease.0 + 1).checked_sub(place)?)),
        };
        flying.push(InFlight {
            seq,
            attempts: u32::try_from(attempts).ok()?,
            lease,
            batch,
            replica: u32::try_from(take(&mut bytes)?).ok()?,
        });
    }
    Some(flying)
}

/// One number.
pub(crate) fn put(bytes: &mut Vec<u8>, number: u64) {
    let mut left = number;
    while left >= 0x80 {
        bytes.push(low_bits(left) | 0x80);
        left >>= 7;
    }
    bytes.push(low_bits(left));
}

/// The first number, and what is behind it.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f).checked_shl(shift)?;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn low_bits(number: u64) -> u8 {
    number.to_le_bytes()[0] & 0x7f
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_come_back(numbers in prop::collection::vec(any::<u64>(), 0..20)) {
            let mut bytes = Vec::new();
            for number in &numbers {
                put(&mut bytes, *number);
            }
            let mut rest = &bytes[..];
            let back: Vec<_> = numbers.iter().map(|_| take(&mut rest).unwrap()).collect();
            prop_assert_eq!((back, rest.len()), (numbers, 0));
        }
    }

    #[test]
    fn deliveries_come_back_with_their_batches() {
        let one = |lease: u64, batch| InFlight {
            seq: lease + 7,
            attempts: 3,
            lease: LeaseId((5 << 40) + lease),
            batch,
            replica: 2,
        };
        let batch = Some(BatchId((5 << 40) + 1));
        let sent = [
            one(0, None),
            one(1, batch),
            one(2, batch),
            one(1_000, batch),
        ];
        assert_eq!(read_flying(&flying(&sent)).unwrap(), sent);
    }

    #[test]
    fn half_a_number_is_none() {
        assert_eq!(take(&mut &[0x80_u8][..]), None);
        assert_eq!(read_ranges(&[1]), None);
    }
}
