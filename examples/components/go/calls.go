package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
)

// The calls of components that wait for their answers. `instance` names this process, so that the gateway sends the
// answers to it, and to no other one at the same address.
type calls struct {
	instance string
	lock     sync.Mutex
	waiting  map[string]chan message
}

func newCalls() *calls {
	return &calls{instance: newID(), waiting: map[string]chan message{}}
}

// Take an answer. One that nobody waits for any more is dropped.
func (c *calls) deliver(answer message) {
	var id string
	_ = json.Unmarshal(answer.ID, &id)
	c.lock.Lock()
	defer c.lock.Unlock()
	if waiting, ok := c.waiting[id]; ok {
		waiting <- answer
		delete(c.waiting, id)
	}
}

func (c *calls) expect(id string) chan message {
	waiting := make(chan message, 1)
	c.lock.Lock()
	defer c.lock.Unlock()
	c.waiting[id] = waiting
	return waiting
}

func (c *calls) forget(id string) {
	c.lock.Lock()
	defer c.lock.Unlock()
	delete(c.waiting, id)
}

// Begin to answer with a stream of events.
func (c *calls) execution(w http.ResponseWriter) *execution {
	w.Header().Set("content-type", "text/event-stream")
	w.Header().Set("stepflow-instance-id", c.instance)
	w.WriteHeader(http.StatusOK)
	w.(http.Flusher).Flush()
	return &execution{calls: c, events: w}
}

// An execution of a component, which may call the gateway, also from several goroutines.
type execution struct {
	attempt int
	calls   *calls
	lock    sync.Mutex
	events  http.ResponseWriter
}

// Call a method of the gateway, and decode its result.
func (e *execution) call(ctx context.Context, method string, given params, result any) error {
	id := newID()
	waiting := e.calls.expect(id)
	defer e.calls.forget(id)
	e.send(params{"jsonrpc": "2.0", "id": id, "method": method, "params": given})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case answer := <-waiting:
		if answer.Error != nil {
			return fmt.Errorf("%s: %w", method, answer.Error)
		}
		return json.Unmarshal(answer.Result, result)
	}
}

// Send an event. If the gateway has left, the context of the execution says so.
func (e *execution) send(event any) {
	text, err := json.Marshal(event)
	if err != nil {
		panic(err) // Messages are made of what JSON has.
	}
	e.lock.Lock()
	defer e.lock.Unlock()
	_, _ = fmt.Fprintf(e.events, "data: %s\n\n", text)
	e.events.(http.Flusher).Flush()
}

func newID() string {
	text := make([]byte, 16)
	_, _ = rand.Read(text)
	return hex.EncodeToString(text)
}
