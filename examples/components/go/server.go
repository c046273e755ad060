package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	noMethod    = -32601
	noComponent = -32001
	failed      = -32100
)

// How long executions may still take after SIGTERM: the gateway kills the process after three seconds.
const grace = 2 * time.Second

// A component is a function from an input to an output. The gateway ends an execution by ending its context.
type component func(ctx context.Context, input json.RawMessage, running *execution) (any, error)

type params map[string]any

// A message of JSON-RPC: a request, a notification or a response.
type message struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Method  string          `json:"method,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   *failure        `json:"error,omitempty"`
}

// An error of JSON-RPC.
type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (f *failure) Error() string { return f.Message }

// Serve components until SIGTERM, at a port of 127.0.0.1; of a free one, 0, the first line of the output tells.
func serve(components map[string]component, port string) error {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &handler{components: components, calls: newCalls()}}
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	fmt.Printf("{\"port\": %d}\n", listener.Addr().(*net.TCPAddr).Port)
	select {
	case err := <-ended:
		return err
	case <-stopped:
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		return server.Shutdown(ctx)
	}
}

// The component protocol: JSON-RPC messages by HTTP, and answers with events, by which components call back.
type handler struct {
	components map[string]component
	calls      *calls
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		reply(w, http.StatusOK, map[string]string{"status": "ok"})
		return
	}
	var given message
	if err := json.NewDecoder(r.Body).Decode(&given); err != nil {
		reply(w, http.StatusBadRequest, nil)
		return
	}
	switch {
	case given.Method == "":
		h.calls.deliver(given)
		reply(w, http.StatusAccepted, nil)
	case given.ID == nil:
		reply(w, http.StatusAccepted, nil)
	case given.Method == "components/execute":
		h.execute(w, r, given)
	default:
		result, err := h.describe(given)
		reply(w, http.StatusOK, answer(given.ID, result, err))
	}
}

// Answer the requests by which the gateway learns what there is.
func (h *handler) describe(given message) (any, error) {
	switch given.Method {
	case "initialize":
		return params{"serverProtocolVersion": 1}, nil
	case "components/list":
		listed := []params{}
		for path := range h.components {
			listed = append(listed, params{"component": path})
		}
		return params{"components": listed}, nil
	case "components/info":
		var asked struct{ Component string }
		if err := json.Unmarshal(given.Params, &asked); err != nil {
			return nil, err
		}
		_, err := h.find(asked.Component)
		return params{"info": params{"component": asked.Component}}, err
	}
	return nil, &failure{noMethod, "no method " + given.Method}
}

func (h *handler) find(path string) (component, error) {
	if found, ok := h.components[path]; ok {
		return found, nil
	}
	return nil, &failure{noComponent, "no component " + path}
}

// Execute a component. Its calls are events of the answer, and the output is the last event.
func (h *handler) execute(w http.ResponseWriter, r *http.Request, given message) {
	var asked struct {
		Component string
		Input     json.RawMessage
		Attempt   int
	}
	running := h.calls.execution(w)
	err := json.Unmarshal(given.Params, &asked)
	var found component
	if err == nil {
		found, err = h.find(asked.Component)
	}
	var output any
	if err == nil {
		running.attempt = asked.Attempt
		// The context ends when the gateway closes the connection.
		output, err = found(r.Context(), asked.Input, running)
	}
	running.send(answer(given.ID, params{"output": output}, err))
}

// The response to a request: its result, or its error.
func answer(id json.RawMessage, result any, err error) message {
	if err == nil {
		var text []byte
		if text, err = json.Marshal(result); err == nil {
			return message{JSONRPC: "2.0", ID: id, Result: text}
		}
	}
	known, ok := err.(*failure)
	if !ok {
		known = &failure{failed, err.Error()}
	}
	return message{JSONRPC: "2.0", ID: id, Error: known}
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("content-type", "application/json")
	w.WriteHeader(status)
	if body != nil {
		_ = json.NewEncoder(w).Encode(body)
	}
}
