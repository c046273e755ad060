package runs

import (
	"context"
	"crypto/rand"
	"encoding/hex"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
)

// SubmitOptions says more about a run; each field may be left out.
type SubmitOptions struct {
	// Key makes the submit safe to repeat, also in another process. Without one, each submit has a key of its own.
	Key string
	// Labels are names and values by which the run can be found.
	Labels map[string]string
}

// Page is some of the runs that a list has.
type Page struct {
	Runs []*runsv1.RunStatus
	// Next is the token of the page that follows; empty at the end.
	Next string
	// Total is how many runs match.
	Total uint64
}

// PutFlow stores a flow and returns its id.
func (c *Client) PutFlow(ctx context.Context, flow string) (string, error) {
	request := &runsv1.PutBlobRequest{
		Content: &runsv1.PutBlobRequest_Json{Json: flow}, Type: runsv1.BlobType_BLOB_TYPE_FLOW,
	}
	var answer *runsv1.PutBlobResponse
	err := c.call(ctx, func(connection *grpc.ClientConn) (err error) {
		answer, err = runsv1.NewBlobsServiceClient(connection).PutBlob(ctx, request)
		return err
	})
	return answer.GetBlobId(), err
}

// Submit submits a run with one item for each input, and does not wait for it.
func (c *Client) Submit(
	ctx context.Context, flowID string, inputs []string, options SubmitOptions,
) (*runsv1.RunStatus, error) {
	request := &runsv1.SubmitRunRequest{
		FlowId: flowID, IdempotencyKey: options.Key, Labels: options.Labels, MaxResponseMessageBytes: anySize,
	}
	if request.IdempotencyKey == "" {
		request.IdempotencyKey = randomKey()
	}
	for _, input := range inputs {
		request.Inputs = append(request.Inputs, &runsv1.JsonValue{Encoding: &runsv1.JsonValue_Json{Json: input}})
	}
	var answer *runsv1.SubmitRunResponse
	err := c.call(ctx, func(connection *grpc.ClientConn) (err error) {
		answer, err = c.runs(connection).SubmitRun(ctx, request)
		return err
	})
	return answer.GetRun(), err
}

// Get returns the present state of a run, without results.
func (c *Client) Get(ctx context.Context, runID string) (*runsv1.RunStatus, error) {
	var answer *runsv1.GetRunResponse
	err := c.call(ctx, func(connection *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.runs(connection).GetRun(ctx, &runsv1.GetRunRequest{RunId: runID})
		if err != nil {
			return err
		}
		answer, err = stream.Recv()
		return err
	})
	return answer.GetRun(), err
}

// Cancel cancels a run, and returns its state. A run that has ended stays as it is.
func (c *Client) Cancel(ctx context.Context, runID, reason string) (*runsv1.RunStatus, error) {
	var answer *runsv1.CancelRunResponse
	err := c.call(ctx, func(connection *grpc.ClientConn) (err error) {
		answer, err = c.runs(connection).CancelRun(ctx, &runsv1.CancelRunRequest{RunId: runID, Reason: reason})
		return err
	})
	return answer.GetRun(), err
}

// Delete deletes a run that has ended; with cancel, one that goes on is cancelled before.
func (c *Client) Delete(ctx context.Context, runID string, cancel bool) error {
	repeated := false
	return c.call(ctx, func(connection *grpc.ClientConn) error {
		_, err := c.runs(connection).DeleteRun(ctx, &runsv1.DeleteRunRequest{RunId: runID, Cancel: cancel})
		if repeated && err != nil && statusError(status.Convert(err)).Reason == "RUN_NOT_FOUND" {
			return nil // An earlier call, whose answer was lost, has deleted it.
		}
		repeated = true
		return err
	})
}

// List returns a page of the runs that match, the newest first. The first page has no token.
func (c *Client) List(ctx context.Context, filter *runsv1.RunFilter, size int32, token string) (*Page, error) {
	request := &runsv1.ListRunsRequest{Filter: filter, PageSize: size, PageToken: token, IncludeTotal: true}
	var answer *runsv1.ListRunsResponse
	err := c.call(ctx, func(connection *grpc.ClientConn) (err error) {
		answer, err = c.runs(connection).ListRuns(ctx, request)
		return err
	})
	return &Page{answer.GetRuns(), answer.GetNextPageToken(), answer.GetTotalSize()}, err
}

func randomKey() string {
	key := make([]byte, 16)
	if _, err := rand.Read(key); err != nil {
		panic(err) // The system has no random numbers.
	}
	return hex.EncodeToString(key)
}
