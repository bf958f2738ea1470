import java.io.*;
import java.net.*;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.MessageDigest;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import java.util.zip.*;
import javax.crypto.Cipher;
import javax.crypto.spec.*;

/** Direct buffers, compression, sockets, class loading and threads; prints checksums only, never an identity hash. */
public class Work {
	static String sum(byte[] b) throws Exception {
		return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(b)).substring(0, 24);
	}

	static String texts(int seed) throws Exception {
		Random random = new Random(seed);
		Map<String, Integer> count = new TreeMap<>();
		for (int i = 0; i < 200_000; i++) count.merge("w" + random.nextInt(5000), 1, Integer::sum);
		String all = count.entrySet().stream().map(Object::toString).collect(Collectors.joining(" ")).replaceAll("w(\\d+)=(\\d+)", "<$2|$1>");
		return sum(all.getBytes(StandardCharsets.UTF_8));
	}

	/** Outside Java's heap: each of these is a malloc, freed by a cleaner on a thread of its own. */
	static long buffers() {
		long sum = 0;
		ByteBuffer[] live = new ByteBuffer[64];
		for (int i = 0; i < 20_000; i++) {
			ByteBuffer b = ByteBuffer.allocateDirect(1 + i * 7919 % 60_000);
			b.put(b.capacity() - 1, (byte) i);
			live[i % live.length] = b;
			sum += live[i * 31 % live.length] == null ? 0 : live[i * 31 % live.length].capacity();
		}
		return sum;
	}

	static byte[] zipped(int n) throws IOException {
		ByteArrayOutputStream bytes = new ByteArrayOutputStream();
		try (ZipOutputStream zip = new ZipOutputStream(bytes)) {
			for (int i = 0; i < 60; i++) {
				ZipEntry entry = new ZipEntry("entry" + i);
				entry.setTime(1_600_000_000_000L);
				zip.putNextEntry(entry);
				zip.write(("line " + n + " of " + i + "\n").repeat(i * 50 + 1).getBytes());
			}
		}
		return bytes.toByteArray();
	}

	static String zips(ExecutorService pool) throws Exception {
		List<Future<String>> all = new ArrayList<>();
		for (int i = 0; i < 80; i++) {
			int n = i;
			all.add(pool.submit(() -> {
				long size = 0;
				try (ZipInputStream in = new ZipInputStream(new ByteArrayInputStream(zipped(n)))) {
					while (in.getNextEntry() != null) size += in.readAllBytes().length;
				}
				Deflater d = new Deflater(n % 9 + 1);
				d.end();
				return n + ":" + size;
			}));
		}
		StringBuilder text = new StringBuilder();
		for (Future<String> f : all) text.append(f.get()).append(' ');
		return sum(text.toString().getBytes());
	}

	static String ciphers() throws Exception {
		Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding");
		byte[] data = new byte[1 << 20];
		for (int i = 0; i < 8; i++) {
			cipher.init(Cipher.ENCRYPT_MODE, new SecretKeySpec(new byte[32], "AES"), new GCMParameterSpec(128, new byte[] {(byte) i, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}));
			data = Arrays.copyOf(cipher.doFinal(data), 1 << 20);
		}
		return sum(data);
	}

	static String sockets(ExecutorService pool) throws Exception {
		try (ServerSocket server = new ServerSocket(0, 100, InetAddress.getLoopbackAddress())) {
			Thread answering = new Thread(() -> {
				try {
					for (int i = 0; i < 200; i++) {
						Socket s = server.accept();
						pool.submit(() -> {
							try (s) {
								byte[] asked = s.getInputStream().readAllBytes();
								s.getOutputStream().write((asked.length + " " + sum(asked)).getBytes());
							}
							return null;
						});
					}
				} catch (IOException e) {
					throw new UncheckedIOException(e);
				}
			});
			answering.start();
			StringBuilder text = new StringBuilder();
			for (int i = 0; i < 200; i++) {
				try (Socket s = new Socket(InetAddress.getLoopbackAddress(), server.getLocalPort())) {
					s.getOutputStream().write(new byte[i * 500]);
					s.shutdownOutput();
					text.append(new String(s.getInputStream().readAllBytes())).append('\n');
				}
			}
			answering.join();
			return sum(text.toString().getBytes());
		}
	}

	/** The same class, loaded again and again by loaders that go: metadata that comes and is given back. */
	static int classes() throws Exception {
		byte[] code;
		try (InputStream in = Object.class.getResourceAsStream("/java/util/zip/CRC32C.class")) { code = in.readAllBytes(); }
		int loaded = 0;
		for (int i = 0; i < 2000; i++) {
			Class<?> proxy = java.lang.reflect.Proxy.newProxyInstance(new ClassLoader(null) {}, new Class<?>[] {Runnable.class}, (p, m, a) -> null).getClass();
			loaded += proxy.getInterfaces().length + code.length % 2;
		}
		System.gc();
		return loaded;
	}

	static long forks() {
		class Sum extends RecursiveTask<Long> {
			final int[] a; final int from, to;
			Sum(int[] a, int from, int to) { this.a = a; this.from = from; this.to = to; }
			protected Long compute() {
				if (to - from < 1000) return IntStream.range(from, to).mapToLong(i -> a[i]).sum();
				Sum left = new Sum(a, from, (from + to) / 2), right = new Sum(a, (from + to) / 2, to);
				left.fork();
				return right.compute() + left.join();
			}
		}
		return new Sum(new Random(9).ints(2_000_000).toArray(), 0, 2_000_000).invoke();
	}

	static int threads() throws Exception {
		ConcurrentSkipListSet<Integer> seen = new ConcurrentSkipListSet<>();
		for (int round = 0; round < 5; round++) {
			Thread[] all = new Thread[200];
			for (int i = 0; i < all.length; i++) { int n = round * 1000 + i; (all[i] = new Thread(() -> seen.add(n))).start(); }
			for (Thread t : all) t.join();
		}
		return seen.size();
	}

	static String child() throws Exception {
		Process p = new ProcessBuilder("sort", "-n").redirectErrorStream(true).start();
		try (Writer w = p.outputWriter()) { for (int i = 0; i < 5000; i++) w.write(i * 7919 % 5003 + "\n"); }
		return sum(p.getInputStream().readAllBytes()) + p.waitFor();
	}

	public static void main(String[] args) throws Exception {
		ExecutorService pool = Executors.newFixedThreadPool(6);
		for (int i = 0; i < Integer.parseInt(args[0]); i++)
			System.out.println(String.join(" ", texts(i), "" + buffers(), zips(pool), ciphers(), sockets(pool), "" + classes(), "" + forks(), "" + threads(), child()));
		pool.shutdown();
	}
}
