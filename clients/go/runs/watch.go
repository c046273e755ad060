package runs

import (
	"context"
	"io"
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/grpc"
)

// WatchOptions says how a run is followed; each field may be left out.
type WatchOptions struct {
	// ByCompletion gives results in the order in which items finish, and not by index.
	ByCompletion bool
	// WithoutResults gives states alone.
	WithoutResults bool
	// Heartbeat is how often the gateway shows that it lives: 10 s by default.
	Heartbeat time.Duration
	// Token is that of an earlier update: go on after it.
	Token []byte
}

func (o WatchOptions) heartbeat() time.Duration {
	if o.Heartbeat == 0 {
		return 10 * time.Second
	}
	return o.Heartbeat
}

// Watch is a run that is followed until its end. Close it.
type Watch struct {
	stream *stream[*runsv1.GetRunResponse]
	run    followed
}

// Watch follows a run. Nothing is asked for before the first Next.
func (c *Client) Watch(ctx context.Context, runID string, options WatchOptions) *Watch {
	watch := &Watch{run: followed{runID: runID, options: options}}
	watch.stream = newStream(ctx, c, watch.open)
	watch.stream.silence = silence(options.heartbeat())
	return watch
}

// Next waits for the next update, and goes on after cuts by itself. It returns io.EOF after the end of the run.
func (w *Watch) Next() (*Update, error) {
	for {
		message, err := w.stream.receive()
		if err == io.EOF && w.run.ended {
			return nil, io.EOF
		}
		if err == io.EOF {
			err = lost("the stream has ended before the run") // A proxy may have shortened the deadline.
		}
		if err != nil {
			if err := w.stream.again(err); err != nil {
				return nil, err
			}
			continue
		}
		update, progress := w.run.take(message)
		w.stream.outage.heard(progress)
		if update != nil {
			return update, nil
		}
	}
}

// Close stops following the run, which goes on.
func (w *Watch) Close() { w.stream.close() }

func (w *Watch) open(ctx context.Context, connection *grpc.ClientConn) (receiver[*runsv1.GetRunResponse], error) {
	return w.stream.client.runs(connection).GetRun(ctx, w.run.ask())
}
