# frozen_string_literal: true

require 'openssl'

module RunsGateway
  # The contents of the files for TLS. They are checked: gRPC would take a file that is of no use for a lost connection.
  class TlsFiles
    # The contents; nil for files that are not given.
    attr_reader :ca, :cert, :key

    # Raises ArgumentError if a file is of no use, or a certificate and its key do not come together, and SystemCallError if
    # a file cannot be read.
    def initialize(ca, cert, key)
      raise ArgumentError, 'a certificate comes with its key' if cert.nil? ^ key.nil?

      @ca, @cert, @key = [ca, cert, key].map { |file| file && File.binread(file) }
      certificate(ca, @ca) if ca
      check_pair(cert, key) if cert
    end

    private

    def certificate(file, content)
      raise OpenSSL::X509::CertificateError unless content.include?('-----BEGIN')

      OpenSSL::X509::Certificate.load(content).first
    rescue OpenSSL::X509::CertificateError
      raise ArgumentError, "#{file} has no certificate in PEM"
    end

    def check_pair(cert, key)
      # Without a password: OpenSSL would ask for one at the terminal.
      own = OpenSSL::PKey.read(@key, '')
      raise ArgumentError, "#{key} is not the key of #{cert}" unless certificate(cert, @cert).check_private_key(own)
    rescue OpenSSL::PKey::PKeyError
      raise ArgumentError, "#{key} has no key in PEM, without a password"
    end
  end
end
