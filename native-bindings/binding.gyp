{
  'variables': {
    # A package that is installed with a newer compiler must not fail for a new warning.
    'werror%': '-Werror',
  },
  'targets': [
    {
      'target_name': 'ocimount',
      'sources': ['<!@(ls src/*.cc)'],
      'defines': ['NAPI_VERSION=8', '_FILE_OFFSET_BITS=64'],
      # zlib.h and openssl/ are those of Node.js, whose binary also has the symbols: nothing is linked.
      'cflags': ['-Wall', '-Wextra', '<(werror)', '-fvisibility=hidden'],
      'cflags_cc!': ['-std=gnu++17', '-std=gnu++20', '-fno-exceptions'],
      # Threads and memory fail with exceptions, which the cores turn into values.
      'cflags_cc': ['-std=c++20', '-fexceptions', '-fvisibility-inlines-hidden'],
      'ldflags': ['-Wl,--as-needed', '-pthread'],
    },
  ],
}
