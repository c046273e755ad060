// A call with one answer, which is made again while the gateway cannot be reached.
#pragma once

#include "connection.h"
#include "outage.h"
#include "runs/error.h"

namespace runs {

// The answer to `method` of the service. Throws Error if there is none. `calls` gets the number of calls that were made.
template <class Service, class Stub, class Request, class Response>
Response answer(const Connection& connection,
                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                const Request& request, int* calls = nullptr) {
  const auto until = Clock::now() + connection.options().timeout;
  Outage outage(connection.options().retry_for, until);
  for (int call = 1;; ++call) {
    if (calls != nullptr) {
      *calls = call;
    }
    grpc::ClientContext context;
    const Connection::Call ended_by_close(connection, context);
    context.set_deadline(std::chrono::system_clock::now() + (until - Clock::now()));
    Response response;
    const auto stub = Service::NewStub(connection.channel());
    const auto status = (stub.get()->*method)(&context, request, &response);
    if (status.ok()) {
      return response;
    }
    connection.pause(outage, Error(status));
  }
}

}  // namespace runs
