package runs

import (
	"context"
	"io"
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

const missedHeartbeats = 3

// WatchOptions says how a run is followed; each field may be left out.
type WatchOptions struct {
	// ByCompletion gives results in the order in which items finish, and not by index.
	ByCompletion bool
	// Heartbeat is how often the gateway shows that it lives: 10 s by default.
	Heartbeat time.Duration
	// Token is that of an earlier update: go on after it.
	Token []byte
}

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

// Watch is a run that is followed until its end. Close it.
type Watch struct {
	stream  *stream[*runsv1.GetRunResponse]
	request *runsv1.GetRunRequest
	ended   bool
	cut     bool
	first   bool
	known   uint64
}

// Watch follows a run. Nothing is asked for before the first Next.
func (c *Client) Watch(ctx context.Context, runID string, options WatchOptions) *Watch {
	heartbeat := options.Heartbeat
	if heartbeat == 0 {
		heartbeat = 10 * time.Second
	}
	watch := &Watch{request: &runsv1.GetRunRequest{
		RunId: runID, Wait: true, IncludeResults: true, ResumeToken: options.Token,
		HeartbeatInterval: durationpb.New(heartbeat), MaxResponseMessageBytes: anySize,
	}}
	if options.ByCompletion {
		watch.request.ResultOrder = runsv1.ResultOrder_RESULT_ORDER_BY_COMPLETION
	}
	watch.stream = newStream(ctx, c, watch.open)
	if watch.stream.silence = missedHeartbeats * heartbeat; watch.stream.silence < time.Second {
		watch.stream.silence = time.Second
	}
	return watch
}

// Next waits for the next update, and goes on after cuts by itself. It returns io.EOF after the end of the run.
func (w *Watch) Next() (*Update, error) {
	for {
		message, err := w.stream.receive()
		if err == io.EOF && w.ended {
			return nil, io.EOF
		}
		if err == io.EOF {
			err = lost("the stream has ended before the run") // A proxy may have shortened the deadline.
		}
		if err != nil {
			if err := w.stream.again(err); err != nil {
				return nil, err
			}
			w.cut = true
		} else if update := w.take(message); update != nil {
			return update, nil
		}
	}
}

// Close stops following the run, which goes on.
func (w *Watch) Close() { w.stream.close() }

func (w *Watch) open(ctx context.Context, connection *grpc.ClientConn) (receiver[*runsv1.GetRunResponse], error) {
	w.first = true
	return w.stream.client.runs(connection).GetRun(ctx, w.request)
}

// take remembers where a message has come to, and returns what it tells; nil for a heartbeat.
func (w *Watch) take(message *runsv1.GetRunResponse) *Update {
	// The first message of a stream repeats the state that is known.
	w.stream.outage.heard(!w.first || message.Revision != w.known || len(message.Run.Results) > 0)
	w.first, w.known, w.request.ResumeToken = false, message.Revision, message.ResumeToken
	w.ended = Ended(message.Run)
	if message.Heartbeat {
		return nil
	}
	update := &Update{
		Run: message.Run, Results: message.Run.Results, Token: message.ResumeToken,
		Restarted: message.Restarted, Reconnected: w.cut,
	}
	w.cut, message.Run.Results = false, nil
	return update
}

// Ended returns whether a run has ended: its state is final.
func Ended(run *runsv1.RunStatus) bool {
	switch run.GetStatus() {
	case runsv1.RunState_RUN_STATE_SUCCESS, runsv1.RunState_RUN_STATE_FAILED, runsv1.RunState_RUN_STATE_CANCELLED:
		return true
	}
	return false
}
