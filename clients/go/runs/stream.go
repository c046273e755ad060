package runs

import (
	"context"
	"io"
	"time"

	"google.golang.org/grpc"
)

// receiver is what generated code gives for a stream of messages.
type receiver[Message any] interface {
	Recv() (Message, error)
}

// opener opens a stream. It knows what to ask for after a cut.
type opener[Message any] func(context.Context, *grpc.ClientConn) (receiver[Message], error)

// stream is a stream that is opened again after a cut.
type stream[Message any] struct {
	client *Client
	ctx    context.Context
	open   opener[Message]
	// silence is how long nothing may come before the connection counts as lost; 0: for ever.
	silence time.Duration

	outage     *outage
	connection *grpc.ClientConn
	messages   receiver[Message]
	cancel     context.CancelFunc
}

func newStream[Message any](ctx context.Context, client *Client, open opener[Message]) *stream[Message] {
	return &stream[Message]{client: client, ctx: ctx, open: open, outage: newOutage(client.patient)}
}

// receive returns the next message. The error is io.EOF at the end of the stream, and else what the call has ended with.
func (s *stream[Message]) receive() (message Message, err error) {
	if !s.isOpen() {
		if err := s.begin(); err != nil {
			return message, toError(s.ctx, err)
		}
	}
	var timer *time.Timer
	if s.silence > 0 {
		timer = time.AfterFunc(s.silence, s.cancel)
	}
	message, err = s.messages.Recv()
	silent := timer != nil && !timer.Stop()
	switch {
	case err == nil || err == io.EOF:
		return message, err
	case silent && s.ctx.Err() == nil:
		s.client.renew(s.connection)
		return message, lost("nothing has come from the gateway for " + s.silence.String())
	}
	return message, toError(s.ctx, err)
}

func (s *stream[Message]) isOpen() bool { return s.messages != nil }

func (s *stream[Message]) begin() (err error) {
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(s.ctx)
	s.connection = s.client.current()
	s.messages, err = s.open(ctx, s.connection)
	return err
}

// again gets ready to open the stream again, after a pause. It returns the error if that would not help, or not in time.
func (s *stream[Message]) again(err error) error {
	s.close()
	return s.client.wait(s.ctx, s.outage, err)
}

func (s *stream[Message]) close() {
	if s.cancel != nil {
		s.cancel()
	}
	s.messages, s.cancel = nil, nil
}
