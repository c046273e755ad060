//! When to call a gateway again that does not answer, and when to give up.

use std::time::{Duration, Instant};

use crate::Error;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A stream that has lasted so long was not in vain, even if it has told nothing new.
const STABLE: Duration = Duration::from_secs(1);

/// The time for which a gateway has not answered.
pub struct Outage {
    retry_for: Option<Duration>,
    pause: Duration,
    since: Option<Instant>,
    begun: Option<Instant>,
    /// Something has come since then.
    heard: bool,
    failed: bool,
}

impl Outage {
    /// Retries end so long after the first failure since the last answer; `None`: never.
    pub fn new(retry_for: Option<Duration>) -> Outage {
        Outage { retry_for, pause: FIRST_PAUSE, since: None, begun: None, heard: false, failed: false }
    }

    /// Returns whether a call has failed that was made again.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Takes note that a stream begins.
    pub fn begun(&mut self) {
        self.begun = Some(Instant::now());
        self.heard = false;
    }

    /// Takes note of an answer. Without progress the next pause still grows: the gateway may fail again and again.
    pub fn heard(&mut self, progress: bool) {
        self.heard = true;
        self.since = None;
        if progress {
            self.pause = FIRST_PAUSE;
        }
    }

    /// Returns how long to pause before the next call; the error, if a retry would not help, or not in time.
    pub fn pause(&mut self, error: Error) -> Result<Duration, Error> {
        if !error.passes() {
            return Err(error);
        }
        let now = Instant::now();
        if self.heard && self.begun.map_or(false, |begun| now >= begun + STABLE) {
            self.heard(true);
        }
        self.failed = true;
        let pause = self.next() + error.retry_after.unwrap_or_default();
        let since = self.since.unwrap_or(now);
        self.since = if error.goes_away() { None } else { Some(since) };
        match self.retry_for {
            Some(limit) if self.since.is_some() && now + pause > since + limit => Err(error),
            _ => Ok(pause),
        }
    }

    /// Half of each pause is by chance: many clients that lost their connections at once do not come back at once.
    fn next(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = LONGEST_PAUSE.min(2 * pause);
        pause.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}
