package runs

import (
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Update is a change of a run.
type Update struct {
	// Run is the whole state, without results.
	Run *runsv1.RunStatus
	// Results are those that no earlier update had.
	Results []*runsv1.ItemResult
	// Token names the point after this update.
	Token []byte
	// Restarted says that results begin anew: earlier ones count no more.
	Restarted bool
	// Reconnected says that the connection was lost before this update.
	Reconnected bool
}

// Onto returns the run after this update, with all results. Before the first update, known is nil.
func (u *Update) Onto(known *runsv1.RunStatus) *runsv1.RunStatus {
	results := known.GetResults()
	if u.Restarted {
		results = nil
	}
	u.Run.Results = append(results, u.Results...)
	return u.Run
}

// Ended returns whether a run has ended: its state is final.
func Ended(run *runsv1.RunStatus) bool {
	switch run.GetStatus() {
	case runsv1.RunState_RUN_STATE_SUCCESS, runsv1.RunState_RUN_STATE_FAILED, runsv1.RunState_RUN_STATE_CANCELLED:
		return true
	}
	return false
}

// followed is how far a run has been followed: alone on a stream, or with others.
type followed struct {
	runID    string
	options  WatchOptions
	revision uint64
	ended    bool
	asked    bool
	first    bool
	cut      bool
}

// ask returns the request for what has not come yet, at the beginning of a stream.
func (f *followed) ask() *runsv1.GetRunRequest {
	f.cut, f.asked, f.first = f.cut || f.asked, true, true
	request := &runsv1.GetRunRequest{
		RunId: f.runID, Wait: true, IncludeResults: !f.options.WithoutResults, ResumeToken: f.options.Token,
		HeartbeatInterval: durationpb.New(f.options.heartbeat()), MaxResponseMessageBytes: anySize,
	}
	if f.options.ByCompletion {
		request.ResultOrder = runsv1.ResultOrder_RESULT_ORDER_BY_COMPLETION
	}
	return request
}

// take remembers where a message has come to, and returns what it tells; nil for a heartbeat. There is no progress
// in the first message of a stream if it repeats the state that is known.
func (f *followed) take(message *runsv1.GetRunResponse) (update *Update, progress bool) {
	progress = !f.first || message.Revision != f.revision || len(message.Run.GetResults()) > 0
	f.first, f.revision, f.options.Token = false, message.Revision, message.ResumeToken
	f.ended = Ended(message.Run)
	if message.Heartbeat {
		return nil, progress
	}
	update = &Update{
		Run: message.Run, Results: message.Run.GetResults(), Token: message.ResumeToken,
		Restarted: message.Restarted, Reconnected: f.cut,
	}
	f.cut, message.Run.Results = false, nil
	return update, progress
}

const (
	missedHeartbeats = 3
	leastSilence     = time.Second
)

// silence returns how long a stream may be silent before its connection counts as lost.
func silence(heartbeat time.Duration) time.Duration {
	if silence := missedHeartbeats * heartbeat; silence > leastSilence {
		return silence
	}
	return leastSilence
}
