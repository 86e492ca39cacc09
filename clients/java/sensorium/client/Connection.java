package sensorium.client;

import io.grpc.CallCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.SecurityLevel;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.File;
import java.io.IOException;
import java.util.concurrent.Executor;

/** Opens channels to Sensorium, and carries tokens over them. */
public final class Connection {
  /** Limits.max_message_bytes; gRPC's own limit would be 4 MiB. There is none for what is sent. */
  private static final int MAX_MESSAGE_BYTES = 64 << 20;

  private Connection() {}

  /**
   * Returns a channel to "host:port"; keep one for the whole program, it is safe to share among threads. The caller shuts
   * it down.
   *
   * @param ca path of a PEM file with the authorities of the server's certificate; null means plain text
   * @throws IOException where the file cannot be read
   */
  public static ManagedChannel open(String address, String ca) throws IOException {
    var credentials =
        ca == null ? InsecureChannelCredentials.create() : TlsChannelCredentials.newBuilder().trustManager(new File(ca)).build();
    return Grpc.newChannelBuilder(address, credentials).maxInboundMessageSize(MAX_MESSAGE_BYTES).build();
  }

  /** Returns credentials that send a token with each call of a stub, over TLS only: {@code stub.withCallCredentials(…)}. */
  public static CallCredentials bearer(String token) {
    return new Bearer(token);
  }

  private static final class Bearer extends CallCredentials {
    private static final Metadata.Key<String> AUTHORIZATION = Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private final Metadata headers = new Metadata();

    Bearer(String token) {
      headers.put(AUTHORIZATION, "Bearer " + token);
    }

    @Override
    public void applyRequestMetadata(RequestInfo call, Executor executor, MetadataApplier applier) {
      // gRPC for Java, unlike other languages, would send it in plain text.
      if (call.getSecurityLevel() == SecurityLevel.PRIVACY_AND_INTEGRITY) applier.apply(headers);
      else applier.fail(Status.UNAUTHENTICATED.withDescription("a token goes over TLS only: give the authority (--ca) too"));
    }

    @Override
    public void thisUsesUnstableApi() {}
  }
}
