import tseslint from 'typescript-eslint';

/** Every object has a `constructor`: what is read by a key from elsewhere is a Map's, or asked for by `own`. */
const noComputedRecord = {
  meta: {
    type: 'problem',
    messages: {
      computed: 'Read with own() of lib/core/own.ts, or use a Map: a foreign key finds Object.prototype here.',
    },
    schema: [],
  },
  create(context) {
    const { getTypeAtLocation } = context.sourceCode.parserServices;
    return {
      'MemberExpression[computed=true]'({ object, property }) {
        const isRecord = getTypeAtLocation(object).getNonNullableType().getStringIndexType() !== undefined;
        const key = getTypeAtLocation(property);
        const isKnown = (key.isUnion() ? key.types : [key]).every((type) => type.isLiteral());
        if (!isRecord || isKnown) return;
        context.report({ node: property, messageId: 'computed' });
      },
    };
  },
};

export default tseslint.config(
  { ignores: ['dist/', 'coverage/', 'node_modules/', '.serverless/', '**/*.js', '**/*.cjs'] },
  ...tseslint.configs.strictTypeChecked,
  ...tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    plugins: { 'mirror-sync': { rules: { 'no-computed-record': noComputedRecord } } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // Numbers read well in messages, and nothing else may stand there.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidOperator: true },
      ],
      // `while (true)`-like loops that end by return are clearer than flags.
      '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: 'always' }],
      // `index['key']` is asked for by noPropertyAccessFromIndexSignature.
      '@typescript-eslint/dot-notation': 'off',
      // Every error thrown here is an Error; what is handed on is whatever came.
      '@typescript-eslint/only-throw-error': ['error', { allowRethrowing: true, allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': ['error', { allowThrowingUnknown: true }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      // What tells an empty string from none is a decision, and `||` is how it is written.
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true } }],
      // `Promise.withResolvers<void>()` is how a bare signal is made.
      '@typescript-eslint/no-invalid-void-type': 'off',
      // `!` is not allowed in the sources, and this rule would ask for it.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // A type may speak of itself, which a Record cannot.
      '@typescript-eslint/consistent-indexed-object-style': 'off',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
    },
  },
  {
    files: ['lib/**', 'functions/**'],
    rules: {
      'mirror-sync/no-computed-record': 'error',
      'no-restricted-syntax': [
        'error',
        {
          selector: 'CallExpression[callee.property.name=/^(push|unshift|min|max)$/] > SpreadElement.arguments',
          message:
            'A long list overflows the stack here. Use a loop, or smallest() and largest() of lib/core/extremes.ts.',
        },
      ],
      'max-lines': ['error', 300],
      // A longer function has its reason beside it.
      'max-lines-per-function': ['error', { max: 40, skipBlankLines: true, skipComments: true }],
    },
  },
  {
    files: ['scripts/**', 'bench/**', 'examples/**', 'test/simulation/{main,mutations}.ts'],
    rules: { 'no-console': 'off' },
  },
  {
    files: ['test/**'],
    rules: {
      // vitest's matchers are typed `any` where they stand for a value.
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
    },
  },
);
