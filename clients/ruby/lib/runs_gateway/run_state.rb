# frozen_string_literal: true

module RunsGateway
  TERMINAL = %i[RUN_STATE_SUCCESS RUN_STATE_FAILED RUN_STATE_CANCELLED].freeze
  private_constant :TERMINAL

  # Returns whether a run has ended, by its status.
  def self.ended?(run)
    TERMINAL.include?(run.status)
  end
end
