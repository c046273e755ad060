// Package runs is a client of the gateway: it submits runs and follows them, over cuts and restarts.
//
//	client, err := runs.Dial("127.0.0.1:50051")
//	flow, err := client.PutFlow(ctx, `{"steps":[],"output":{"$input":"$"}}`)
//	run, err := client.Submit(ctx, flow, []string{"1", "1e400"}, runs.SubmitOptions{})
//	watch := client.Watch(ctx, run.RunId, runs.WatchOptions{})
//
// Payloads are JSON texts, in and out. Errors of the gateway are *Error.
package runs

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
)

// anySize is what requests say of the messages that this client receives: no message is larger.
const anySize = math.MaxInt32

// ErrClosed is what calls end with when their client is closed.
var ErrClosed = errors.New("the client is closed")

// Client has one connection to a gateway, which it makes again when it is lost. Goroutines may share it.
type Client struct {
	address string
	options []grpc.DialOption
	patient time.Duration
	closed  chan struct{}

	mutex      sync.Mutex
	connection *grpc.ClientConn
}

// Dial returns a client of the gateway at HOST:PORT. It connects when the first call is made.
func Dial(address string, options ...Option) (*Client, error) {
	if err := checkAddress(address); err != nil {
		return nil, err
	}
	given := security{giveUpAfter: 60 * time.Second}
	for _, option := range options {
		option(&given)
	}
	secured, err := given.dialOptions(address)
	if err != nil {
		return nil, err
	}
	// grpc waits between its attempts to connect, too: no longer than this client does between its calls.
	connecting := grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 2, Jitter: 0.5, MaxDelay: longestPause},
		MinConnectTimeout: 20 * time.Second,
	}
	client := &Client{address: address, patient: given.giveUpAfter, closed: make(chan struct{})}
	// Streams that are silent because nothing happens live as long as their connection answers.
	living := keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}
	client.options = append(secured,
		grpc.WithKeepaliveParams(living),
		grpc.WithConnectParams(connecting),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(anySize), grpc.MaxCallSendMsgSize(anySize)))
	client.connection, err = grpc.Dial(address, client.options...)
	return client, err
}

// Close closes the connection. Calls that go on end at once, with ErrClosed.
func (c *Client) Close() error {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.isClosed() {
		close(c.closed)
	}
	return c.connection.Close()
}

func (c *Client) isClosed() bool {
	select {
	case <-c.closed:
		return true
	default:
		return false
	}
}

func (c *Client) current() *grpc.ClientConn {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.connection
}

// renew gives up a connection that is silent: another stream on it would be, too.
func (c *Client) renew(silent *grpc.ClientConn) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.connection != silent || c.isClosed() {
		return
	}
	if connection, err := grpc.Dial(c.address, c.options...); err == nil {
		c.connection = connection
		silent.Close()
	}
}

// call makes a call, again and again while its error passes by itself.
func (c *Client) call(ctx context.Context, make func(*grpc.ClientConn) error) error {
	outage := newOutage(c.patient)
	for {
		err := make(c.current())
		if err == nil {
			return nil
		}
		if err := c.wait(ctx, outage, toError(ctx, err)); err != nil {
			return err
		}
	}
}

// wait pauses before the next call. It returns the error if another call would not help, or not in time.
func (c *Client) wait(ctx context.Context, outage *outage, err error) error {
	pause, again := outage.next(err)
	switch {
	case ctx.Err() == nil && c.isClosed():
		return ErrClosed
	case !again:
		return err
	}
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.closed:
		return ErrClosed
	}
}

func (c *Client) runs(connection *grpc.ClientConn) runsv1.RunsServiceClient {
	return runsv1.NewRunsServiceClient(connection)
}
