package runs

import (
	"context"
	"io"
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/grpc"
)

const (
	// heartbeatShare is the least time between the heartbeats of a stream, of whatever run.
	heartbeatShare = 100 * time.Millisecond
	// longestName is how many characters of an id messages have, if it is none.
	longestName = 255
)

// ManyOptions says how many runs are followed; each field may be left out.
type ManyOptions struct {
	// ByCompletion gives results in the order in which items finish, and not by index.
	ByCompletion bool
	// WithoutResults gives states alone.
	WithoutResults bool
	// Heartbeat is how often the gateway shows of each run that it lives: 10 s by default, and less often with very many.
	Heartbeat time.Duration
	// Tokens are those of earlier updates, by the ids of their runs: go on after them.
	Tokens map[string][]byte
}

// RunEvent is something that has happened to one of many runs.
type RunEvent struct {
	RunID string
	// Update is a change of the run; nil with the last event of the run.
	Update *Update
	// Err is io.EOF when the run has ended, and else the *Error for which it cannot be followed. Others go on.
	Err error
}

// ManyWatch is many runs that are followed on one stream, until each has ended. Close it.
type ManyWatch struct {
	stream *stream[*runsv1.WatchRunsResponse]
	// names are what messages call the runs, in the order in which they were given.
	names []string
	// going are the runs that have not ended.
	going map[string]*oneOfMany
	// paused are those of them that were refused, and have not been heard of since. They are added again at these times.
	paused map[string]time.Time
	// silence is how long nothing may come of those that are not paused.
	silence time.Duration
	adds    *adds
}

// oneOfMany is a run that may fail alone: what is heard of others on its stream says nothing of it.
type oneOfMany struct {
	followed
	outage *outage
}

// WatchMany follows many runs on one stream. A run that is given twice is followed once.
func (c *Client) WatchMany(ctx context.Context, runIDs []string, options ManyOptions) *ManyWatch {
	watch := &ManyWatch{going: map[string]*oneOfMany{}, paused: map[string]time.Time{}}
	one := WatchOptions{ByCompletion: options.ByCompletion, WithoutResults: options.WithoutResults}
	one.Heartbeat = WatchOptions{Heartbeat: options.Heartbeat}.heartbeat()
	if least := heartbeatShare * time.Duration(len(runIDs)); one.Heartbeat < least {
		one.Heartbeat = least
	}
	for _, runID := range runIDs {
		if name := nameOf(runID); watch.going[name] == nil {
			one.Token = options.Tokens[runID]
			watch.names = append(watch.names, name)
			watch.going[name] = &oneOfMany{followed{runID: runID, options: one}, newOutage(c.patient)}
		}
	}
	watch.stream = newStream(ctx, c, watch.open)
	watch.silence = silence(one.Heartbeat)
	return watch
}

// Next waits for the next event, and goes on after cuts by itself. It returns io.EOF when all runs have had their last one.
func (w *ManyWatch) Next() (*RunEvent, error) {
	for len(w.going) > 0 || w.stream.isOpen() {
		w.stream.silence = w.patience()
		message, err := w.stream.receive()
		var event *RunEvent
		if err == nil {
			event = w.take(message)
		}
		switch {
		case event != nil:
			return event, nil
		case err == nil:
			continue
		case len(w.going) == 0:
			w.Close()
			return nil, io.EOF
		case err == io.EOF:
			err = lost("the stream has ended before the runs")
		}
		if err := w.stream.again(err); err != nil {
			return nil, err
		}
	}
	return nil, io.EOF
}

// Close stops following the runs, which go on.
func (w *ManyWatch) Close() { w.stream.close() }

func (w *ManyWatch) open(ctx context.Context, connection *grpc.ClientConn) (receiver[*runsv1.WatchRunsResponse], error) {
	stream, err := w.stream.client.runs(connection).WatchRuns(ctx)
	if err != nil {
		return nil, err
	}
	w.adds = &adds{stream: stream}
	var first []*runsv1.WatchRunsRequest
	for _, name := range w.names {
		run := w.going[name]
		if run == nil {
			continue
		}
		if pause := time.Until(w.paused[name]); pause > 0 {
			w.adds.later(pause, run.add())
		} else {
			first = append(first, run.add())
		}
	}
	go w.adds.send(first)
	return stream, nil
}

// patience returns how long nothing may come: of paused runs, nothing does.
func (w *ManyWatch) patience() time.Duration {
	patience := w.silence
	if len(w.paused) < len(w.going) {
		return patience
	}
	for _, due := range w.paused {
		if pause := time.Until(due); pause+w.silence > patience {
			patience = pause + w.silence
		}
	}
	return patience
}

// take returns the event in a message; nil for a heartbeat. A run with an error that passes is added again, after a pause.
func (w *ManyWatch) take(message *runsv1.WatchRunsResponse) *RunEvent {
	run := w.going[message.RunId]
	if run == nil {
		return nil // It has ended.
	}
	delete(w.paused, message.RunId)
	if update, ok := message.Event.(*runsv1.WatchRunsResponse_Update); ok {
		told, progress := run.take(update.Update)
		run.outage.heard(progress)
		w.stream.outage.heard(progress)
		if told == nil {
			return nil
		}
		return &RunEvent{RunID: run.runID, Update: told}
	}
	end := run.end(message)
	pause, passes := run.outage.next(end)
	w.stream.outage.heard(!passes)
	if passes {
		w.paused[message.RunId] = time.Now().Add(pause)
		w.adds.later(pause, run.add())
		return nil
	}
	delete(w.going, message.RunId)
	if len(w.going) == 0 {
		w.adds.end()
	}
	return &RunEvent{RunID: run.runID, Err: end}
}

// add returns the request for what has not come yet.
func (o *oneOfMany) add() *runsv1.WatchRunsRequest {
	return &runsv1.WatchRunsRequest{Action: &runsv1.WatchRunsRequest_Add{Add: o.ask()}}
}

// end returns why a run is followed no more: io.EOF if it has ended.
func (o *oneOfMany) end(message *runsv1.WatchRunsResponse) error {
	switch {
	case message.GetError() != nil:
		return watchError(message.GetError())
	case o.ended:
		return io.EOF
	}
	return lost("the gateway has stopped following a run that goes on")
}

// nameOf returns what messages call a run: its id, or the beginning of what is none.
func nameOf(runID string) string {
	if characters := []rune(runID); len(characters) > longestName {
		return string(characters[:longestName])
	}
	return runID
}
