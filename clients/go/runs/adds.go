package runs

import (
	"sync"
	"time"

	runsv1 "github.com/runs-gateway/runs-gateway/gen/go/runs/v1"
)

// adds is what a stream of many runs is asked for: each run at first, and those again that were refused for a while.
type adds struct {
	stream runsv1.RunsService_WatchRunsClient
	// mutex is for grpc, which takes one request at a time.
	mutex sync.Mutex
}

// send sends requests while answers are read: the gateway does not take all before it has sent some. When it fails, the
// reader is told why.
func (a *adds) send(requests []*runsv1.WatchRunsRequest) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	for _, request := range requests {
		if a.stream.Send(request) != nil {
			return
		}
	}
}

// later sends a request after a pause.
func (a *adds) later(pause time.Duration, request *runsv1.WatchRunsRequest) {
	time.AfterFunc(pause, func() { a.send([]*runsv1.WatchRunsRequest{request}) })
}

// end says that no more is asked for.
func (a *adds) end() {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	_ = a.stream.CloseSend()
}
