//! Which statements are traced.

use uuid::Uuid;

/// A part of all statements.
pub(crate) struct Sample {
    /// Of what is made of a UUID, all below it.
    below: u128,
}

impl Sample {
    /// So much of all.
    pub(crate) fn new(ratio: f64) -> Sample {
        Sample { below: (ratio.clamp(0.0, 1.0) * 2f64.powi(64)) as u128 }
    }

    /// Whether it has this statement. The bits of a UUID that counts and tells the time are not random, so they are mixed, by the
    /// last step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    pub(crate) fn has(&self, id: Uuid) -> bool {
        let (high, low) = id.as_u64_pair();
        let mixed = mix(mix(high).wrapping_add(low));
        u128::from(mixed) < self.below
    }
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_about_a_tenth_of_statements_that_are_counted() {
        let has =
            |ratio| (0..100_000).filter(|count| Sample::new(ratio).has(Uuid::from_u128(7 << 80 | count << 48))).count();
        assert_eq!((has(0.0), has(1.0)), (0, 100_000));
        assert!((9_000..11_000).contains(&has(0.1)), "{}", has(0.1));
    }
}
