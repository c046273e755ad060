package runs

import (
	"math/rand"
	"time"
)

const (
	firstPause   = 100 * time.Millisecond
	longestPause = 5 * time.Second
)

// outage is the time for which a gateway has not answered, and the pauses between the calls in that time.
type outage struct {
	patient time.Duration
	since   time.Time
	pause   time.Duration
}

func newOutage(patient time.Duration) *outage {
	return &outage{patient: patient, pause: firstPause}
}

// heard takes note of an answer. Without progress the pauses still grow: the next call may fail as well.
func (o *outage) heard(progress bool) {
	o.since = time.Time{}
	if progress {
		o.pause = firstPause
	}
}

// next returns how long to pause before the next call, and whether it would help, in time.
func (o *outage) next(err error) (pause time.Duration, again bool) {
	failure, ok := err.(*Error)
	if !ok || !failure.passes {
		return 0, false
	}
	// Half of a pause is random: clients that were cut at the same time do not come back at the same time.
	pause = o.pause/2 + time.Duration(rand.Int63n(int64(o.pause/2))) + failure.retryAfter
	if o.pause *= 2; o.pause > longestPause {
		o.pause = longestPause
	}
	if failure.Reason == "GO_AWAY" {
		o.since = time.Time{} // The gateway answers, and asks for another connection.
		return pause, true
	}
	now := time.Now()
	if o.since.IsZero() {
		o.since = now
	}
	return pause, !now.Add(pause).After(o.since.Add(o.patient))
}
