//! Short lists of numbers as bytes: seven bits each, the lowest first.

use super::InFlight;
use crate::bus::delivery::LeaseId;
use crate::bus::group::Ranges;

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

pub(super) fn flying(flying: &[InFlight]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for one in flying {
        put(&mut bytes, one.seq);
        put(&mut bytes, u64::from(one.attempts));
        put(&mut bytes, one.lease.0);
        put(&mut bytes, u64::from(one.replica));
    }
    bytes
}

pub(super) fn read_flying(bytes: &[u8]) -> Option<Vec<InFlight>> {
    let (mut flying, mut bytes) = (Vec::new(), bytes);
    while !bytes.is_empty() {
        flying.push(InFlight {
            seq: take(&mut bytes)?,
            attempts: u32::try_from(take(&mut bytes)?).ok()?,
            lease: LeaseId(take(&mut bytes)?),
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
    fn half_a_number_is_none() {
        assert_eq!(take(&mut &[0x80_u8][..]), None);
        assert_eq!(read_ranges(&[1]), None);
    }
}
