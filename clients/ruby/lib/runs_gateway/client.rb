# frozen_string_literal: true

require 'securerandom'
require_relative 'connection'
require_relative 'json_text'
require_relative 'many_runs_stream'
require_relative 'outage'
require_relative 'run_picture'
require_relative 'run_stream'
require_relative 'set_stream'

module RunsGateway
  # The calls of a gateway. Each is made again for +retry_for+ seconds after a lost connection (nil: without limit), and
  # raises Error if that does not help. Statuses, results and filters are the messages of the contract.
  class Client
    # The largest message that the contract can ask for: Connection takes any.
    ANY_SIZE = 2_147_483_647

    # After so many seconds the gateway says that it is there.
    HEARTBEAT = 10.0

    # Of many runs, a stream has at most so many heartbeats a second.
    HEARTBEATS_PER_SECOND = 10.0

    # +security+ is what Connection has: +tls+, +ca+, +cert+, +key+, +token+, +namespace+. A call that does not follow may take
    # +call_timeout+ seconds.
    def initialize(address, retry_for: 60.0, call_timeout: 60.0, **security)
      @connection = Connection.new(address, **security)
      @retry_for = retry_for
      @call_timeout = call_timeout
    end

    # Stores a flow, which is JSON text, and returns its id.
    def put(flow)
      call(:blobs, :put_blob, V1::PutBlobRequest.new(json: flow, type: :BLOB_TYPE_FLOW)).blob_id
    end

    # Submits a run with one item for each input, and returns its status. An input is a JsonText, or a value that
    # JSON.generate can write. A run with the same key is the same run; without one, the client makes one up, so that its
    # own retries make one run. +more+ has further fields of V1::SubmitRunRequest.
    def submit(flow_id, inputs, key: SecureRandom.uuid, labels: {}, **more)
      values = inputs.map { |input| RunsGateway.json_value(input) }
      call(:runs, :submit_run, V1::SubmitRunRequest.new(flow_id:, inputs: values, idempotency_key: key,
                                                        labels:, **more)).run
    end

    # Returns the present status of a run, with its results if they are wanted.
    def get(run_id, results: false)
      fold(stream(run_id, include_results: results))
    end

    # Waits until a run has ended, and returns its status with all results.
    def wait(run_id, order: :by_index)
      fold(stream(run_id, **waiting(HEARTBEAT, order), include_results: true))
    end

    # Yields each Update of a run until it has ended, or +timeout+ seconds have passed. The connection may be lost
    # meanwhile: no result comes twice, and none is missing. Silence for three times +heartbeat+ is a lost connection.
    def watch(run_id, results: true, order: :by_index, heartbeat: HEARTBEAT, timeout: nil, resume_token: '', &block)
      return enum_for(__method__, run_id, results:, order:, heartbeat:, timeout:, resume_token:) unless block

      follow(stream(run_id, timeout:, resume_token:, include_results: results, **waiting(heartbeat, order)), &block)
    end

    # Yields each result of a run once, until it has ended.
    def results(run_id, order: :by_index, heartbeat: HEARTBEAT)
      return enum_for(__method__, run_id, order:, heartbeat:) unless block_given?

      seen = {}
      watch(run_id, order:, heartbeat:) do |update|
        update.run.results.each do |result|
          yield result unless seen.key?(result.item_index)
          seen[result.item_index] = true
        end
      end
    end

    # Yields the id of each of some runs with its news, all on one stream: each Update, as #watch does; then :ended, or the
    # Error for which this run cannot be followed. +resume_tokens+ has those of earlier updates, by the ids of their runs.
    # With very many runs, heartbeats are less frequent than +heartbeat+ says.
    def watch_many(run_ids, results: true, order: :by_index, heartbeat: HEARTBEAT, resume_tokens: {}, &block)
      return enum_for(__method__, run_ids, results:, order:, heartbeat:, resume_tokens:) unless block

      run_ids = run_ids.uniq
      asked = waiting([heartbeat, run_ids.size / HEARTBEATS_PER_SECOND].max, order)
      runs = run_ids.map do |run_id|
        stream(run_id, include_results: results, resume_token: resume_tokens.fetch(run_id, ''), **asked)
      end
      follow(ManyRunsStream.new(runs, Outage.new(@retry_for)), &block)
    end

    # Yields each SetEvent of the runs that match a filter (a Hash of the fields of V1::RunFilter), until the caller breaks.
    def watch_set(filter = {}, results: false, only_new: false, resume_token: '', &block)
      return enum_for(__method__, filter, results:, only_new:, resume_token:) unless block

      watch = V1::WatchSet.new(filter: V1::RunFilter.new(**filter), include_results: results, only_new:,
                               resume_token:, max_response_message_bytes: ANY_SIZE)
      follow(SetStream.new(watch, Outage.new(@retry_for)), &block)
    end

    # Cancels a run, and returns its status. A run that has ended stays as it is.
    def cancel(run_id, reason: '', wait: false)
      call(:runs, :cancel_run, V1::CancelRunRequest.new(run_id:, reason:, wait:)).run
    end

    # Deletes a run that has ended, with its inputs and results; with +cancel+, one that goes on is cancelled before.
    def delete(run_id, cancel: false)
      outage = Outage.new(@retry_for)
      call(:runs, :delete_run, V1::DeleteRunRequest.new(run_id:, cancel:), outage)
      nil
    rescue Error => e
      # An earlier call, whose answer was lost, may have deleted it.
      raise unless outage.failed? && e.reason == 'RUN_NOT_FOUND'
    end

    # Yields the status of each run that matches a filter.
    def list(filter = {}, order: :newest_first, page_size: 0, &block)
      return enum_for(__method__, filter, order:, page_size:) unless block_given?

      token = ''
      loop do
        page = list_page(filter, order:, page_size:, page_token: token)
        page.runs.each(&block)
        token = page.next_page_token
        break if token.empty?
      end
    end

    # Returns a page of such a list, a V1::ListRunsResponse.
    def list_page(filter = {}, order: :newest_first, page_size: 0, page_token: '', total: false)
      call(:runs, :list_runs, V1::ListRunsRequest.new(filter: V1::RunFilter.new(**filter), page_size:,
                                                      page_token:, include_total: total,
                                                      order: :"RUN_ORDER_#{order.upcase}"))
    end

    private

    # Returns the answer of a call, which is made again if the connection is lost: all of these calls are safe to repeat.
    def call(service, method, request, outage = Outage.new(@retry_for))
      @connection.answer(service, method, request, @call_timeout)
    rescue Error => e
      sleep(outage.pause(e))
      retry
    end

    def stream(run_id, timeout: nil, **fields)
      request = V1::GetRunRequest.new(run_id:, max_response_message_bytes: ANY_SIZE, **fields)
      RunStream.new(request, Outage.new(@retry_for), timeout:)
    end

    # Yields the events of a stream, over as many calls as it takes.
    def follow(stream)
      loop do
        error = @connection.messages(stream.method, stream.request, stream.silence) do |message|
          event = stream.received(message)
          break event if event.is_a?(Error)

          yield event if event
        end
        pause = stream.ended(error)
        return if pause.nil?

        sleep(pause)
      end
    end

    # Returns the last status of a stream, with the results of all updates.
    def fold(stream)
      picture = RunPicture.new
      follow(stream) { |update| picture.add(update) }
      picture.run.tap { |run| run.results.replace(picture.results) }
    end

    # Returns what is asked for to follow a run to its end.
    def waiting(heartbeat, order)
      interval = Google::Protobuf::Duration.new(seconds: heartbeat.to_i, nanos: ((heartbeat % 1) * 1e9).round)
      { wait: true, result_order: :"RESULT_ORDER_#{order.upcase}", heartbeat_interval: interval }
    end
  end
end
