# frozen_string_literal: true

# A client of a runs gateway: it submits runs, follows them over lost connections, and ends them.
module RunsGateway
end

require_relative 'runs_gateway/client'
require_relative 'runs_gateway/json_text'
require_relative 'runs_gateway/run_picture'
require_relative 'runs_gateway/run_set'
