//! Medians of pairs, and how they stand to a goal.

use std::time::Duration;

/// The middle value; of an even number the mean of the two in the middle. There must be one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

/// What one round of each cost, run one after the other.
#[derive(Debug, Clone, Copy)]
pub struct Pair {
    /// The daemon's, in milliseconds.
    pub ours: f64,
    /// Git's, in milliseconds.
    pub git: f64,
}

/// Pairs on end.
pub struct Pairs(pub Vec<Pair>);

impl Pairs {
    /// The daemon's median, in milliseconds.
    pub fn ours(&self) -> f64 {
        self.median(|pair| pair.ours)
    }

    /// Git's median, in milliseconds.
    pub fn git(&self) -> f64 {
        self.median(|pair| pair.git)
    }

    /// How many times as much git costs: the median of the pairs.
    pub fn ratio(&self) -> f64 {
        self.median(|pair| pair.git / pair.ours)
    }

    /// The ratio for people, with the lowest and the highest.
    pub fn ratio_text(&self) -> String {
        let ratios: Vec<f64> = self.0.iter().map(|pair| pair.git / pair.ours).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        format!("{} ({} – {})", round(self.ratio()), round(low), round(high))
    }

    fn median(&self, of: impl Fn(&Pair) -> f64) -> f64 {
        median(&self.0.iter().map(of).collect::<Vec<_>>())
    }
}

/// What a figure should be.
#[derive(Debug, Clone, Copy)]
pub enum Goal {
    /// This or more, in times.
    Times(f64),
    /// Less than this, in the unit's name.
    Below(f64, &'static str),
}

impl Goal {
    /// The goal and whether it is met, for people.
    pub fn judge(self, figure: f64) -> String {
        let (met, goal) = match self {
            Self::Times(times) => (figure >= times, format!("{times} times")),
            Self::Below(most, unit) => (figure < most, format!("< {most} {unit}")),
        };
        format!("{goal}: {}", if met { "met" } else { "**missed**" })
    }
}

/// Three digits, for people.
pub fn round(value: f64) -> String {
    match value.abs() {
        v if v < 1.0 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// In milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
