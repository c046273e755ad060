package runs

import (
	"context"
	"io"

	"github.com/golang/protobuf/proto" // Not its successor: the messages of errors in Debian are older.
	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// setName is what a stream with one set calls it.
const setName = "runs"

// SetOptions says how a set is followed; each field may be left out.
type SetOptions struct {
	// OnlyNew leaves out what is in the set already.
	OnlyNew bool
	// Results asks for the results of runs that have ended.
	Results bool
	// Token is that of an earlier event: go on after it.
	Token []byte
}

// SetEvent is something that has happened to a set.
type SetEvent struct {
	// CaughtUp says that everything has been told which had happened when the set was asked for. It concerns no run.
	CaughtUp bool
	// Kind says whether the run has come, has changed or has left.
	Kind  runsv1.SetEvent
	RunID string
	// Run is the whole state, with results if they were asked for and it has ended. Nil if the run has been deleted.
	Run *runsv1.RunStatus
	// Token names the point after this event.
	Token []byte
	// Restarted says that the set begins anew: earlier events count no more.
	Restarted bool
	// Reconnected says that the connection was lost before this event.
	Reconnected bool
}

// SetWatch is a set that is followed until it is closed.
type SetWatch struct {
	stream *stream[*runsv1.WatchRunsResponse]
	set    *runsv1.WatchSet
	part   SetEvent
	cut    bool
}

// WatchSet follows the runs that match a filter, those that come later as well.
func (c *Client) WatchSet(ctx context.Context, filter *runsv1.RunFilter, options SetOptions) *SetWatch {
	watch := &SetWatch{set: &runsv1.WatchSet{
		Name: setName, Filter: filter, ResumeToken: options.Token, OnlyNew: options.OnlyNew,
		IncludeResults: options.Results, MaxResponseMessageBytes: anySize,
	}}
	watch.stream = newStream(ctx, c, watch.open)
	return watch
}

// Next waits for the next event, and goes on after cuts by itself.
func (w *SetWatch) Next() (*SetEvent, error) {
	for {
		event, err := w.receive()
		if err == nil && event != nil {
			return event, nil
		}
		if err != nil {
			if err := w.stream.again(err); err != nil {
				return nil, err
			}
			w.cut = true
		}
	}
}

// Close stops following the set.
func (w *SetWatch) Close() { w.stream.close() }

func (w *SetWatch) open(ctx context.Context, connection *grpc.ClientConn) (receiver[*runsv1.WatchRunsResponse], error) {
	w.part = SetEvent{}
	w.set.OnlyNew = w.set.OnlyNew && len(w.set.ResumeToken) == 0
	stream, err := w.stream.client.runs(connection).WatchRuns(ctx)
	if err != nil {
		return nil, err
	}
	// The stream tells by its messages why it has not taken this.
	_ = stream.Send(&runsv1.WatchRunsRequest{Action: &runsv1.WatchRunsRequest_AddSet{AddSet: w.set}})
	return stream, nil
}

// receive returns the event in the next message; nil if more of it is to come.
func (w *SetWatch) receive() (*SetEvent, error) {
	message, err := w.stream.receive()
	if err == io.EOF {
		return nil, lost("the stream has ended before the set was left")
	}
	if err != nil {
		return nil, err
	}
	switch event := message.Event.(type) {
	case *runsv1.WatchRunsResponse_CaughtUp:
		w.part.CaughtUp = true
		return w.complete(event.CaughtUp.ResumeToken, event.CaughtUp.Restarted), nil
	case *runsv1.WatchRunsResponse_Update:
		return w.update(message, event.Update), nil
	case *runsv1.WatchRunsResponse_Error:
		return nil, watchError(event.Error)
	}
	return nil, lost("the gateway has stopped following the set")
}

func (w *SetWatch) update(message *runsv1.WatchRunsResponse, update *runsv1.GetRunResponse) *SetEvent {
	if update.Run != nil && w.part.Run != nil {
		update.Run.Results = append(w.part.Run.Results, update.Run.Results...)
	}
	w.part.Kind, w.part.RunID, w.part.Run = message.SetEvent, message.RunId, update.Run
	if len(update.ResumeToken) == 0 { // More results of this run are to come.
		w.part.Restarted = w.part.Restarted || update.Restarted
		w.stream.outage.heard(true)
		return nil
	}
	return w.complete(update.ResumeToken, update.Restarted)
}

func (w *SetWatch) complete(token []byte, restarted bool) *SetEvent {
	w.stream.outage.heard(true)
	event := w.part
	event.Token, event.Restarted, event.Reconnected = token, event.Restarted || restarted, w.cut
	w.set.ResumeToken, w.part, w.cut = token, SetEvent{}, false
	return &event
}

func watchError(message *runsv1.WatchError) *Error {
	details := &spb.Status{}
	if proto.Unmarshal(message.StatusDetails, details) != nil || len(details.Details) == 0 {
		details = &spb.Status{Code: message.Code, Message: message.Message}
	}
	return statusError(status.FromProto(details))
}

// RunSet is the picture of a set that its events make: its runs, by their ids.
type RunSet map[string]*runsv1.RunStatus

// Add adds the next event.
func (s RunSet) Add(event *SetEvent) {
	if event.Restarted {
		for id := range s {
			delete(s, id)
		}
	}
	switch {
	case event.CaughtUp:
	case event.Run == nil || event.Kind == runsv1.SetEvent_SET_EVENT_LEFT:
		delete(s, event.RunID)
	default:
		s[event.RunID] = event.Run
	}
}
